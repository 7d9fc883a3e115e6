from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.adapters.ca.opening import open_ca
from netvps.domain.access.identity import RunnerIdentity
from netvps.errors import ConfigError, Unauthenticated
from netvps.process import clock
from netvps.programs import runner
from netvps.programs.wiring.identity import Identity, save_identity
from netvps.settings import RunnerSettings, load
from netvps.timing import timed

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.programs.wiring.renewing_link import RenewingLink
    from netvps.runner.runner import Runner


def joined(state: Path, now: datetime) -> Identity:
    """The identity, in its place, of a machine that joined some server at that time."""
    ca, key = open_ca(state / "other-ca", "c1", clock.now), new_key()
    certificate, _ = ca.sign_client(signing_request(key), RunnerIdentity(clock.new_uid()).uri, now)
    identity = Identity("box1", key, certificate, ca.certificate, "old:7443", "old:7444")
    save_identity(state, identity)
    return identity


async def test_addresses_of_the_join_hold_until_others_are_set(tmp_path: Path) -> None:
    identity = joined(tmp_path, clock.now())
    assert await runner._identity(load(RunnerSettings, {}), tmp_path) == identity
    moved = await runner._identity(load(RunnerSettings, {"server": "new:1", "link": "new:2"}), tmp_path)
    assert (moved.server, moved.link, moved.key) == ("new:1", "new:2", identity.key)


@pytest.mark.parametrize("days", [-100, 100])
async def test_a_certificate_that_is_not_valid_now_is_reported_with_the_remedy(tmp_path: Path, days: int) -> None:
    joined(tmp_path, clock.now() + timedelta(days=days))
    with pytest.raises(ConfigError, match=r"check this machine's clock; .*--join-token-file FILE"):
        await runner._identity(load(RunnerSettings, {}), tmp_path)
    (tmp_path / "token").write_text("nonsense")
    with_token = load(RunnerSettings, {"join_token_file": str(tmp_path / "token")})
    with pytest.raises(Unauthenticated, match="no join token"):  # so it would join
        await runner._identity(with_token, tmp_path)


async def test_without_identity_and_token_it_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="netvps runner join-token"):
        await runner._identity(load(RunnerSettings, {}), tmp_path)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"snapshot_dir": "/mnt"}, "--snapshot-dir is for a runner of its own: add --no-sessions, and a state folder"),
        ({"snapshot_registry": "registry.example/netvps"}, "--snapshot-registry is for a runner of its own"),
        (
            {"snapshot_dir": "/mnt", "snapshot_registry": "registry.example/netvps", "no_sessions": True},
            "are for a runner each: start two",
        ),
    ],
)
async def test_a_holder_of_snapshots_is_a_runner_of_its_own_without_sessions(given: dict[str, Any], why: str) -> None:
    settings = load(RunnerSettings, given)
    with pytest.raises(ConfigError, match=why):
        await runner._serve(settings, cast("Any", None))


async def test_what_is_no_token_is_not_sent_and_not_revealed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush hush")
    settings = load(RunnerSettings, {"join_token_file": str(tmp_path / "token")})
    with pytest.raises(Unauthenticated, match="no join token") as error:
        await runner._identity(settings, tmp_path)
    assert "hush" not in str(error.value)


class _Busy:
    """What the metrics ask of a runner."""

    log_streams = 2
    unsent_reports = 3


async def test_metrics_are_reported_on_loopback_where_there_is_a_port_for_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]

    def read(path: str = "metrics") -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            return str(answer.read().decode())

    link = SimpleNamespace(is_connected=True)
    busy, connected = cast("Runner", _Busy()), cast("RenewingLink", link)
    async with runner._measured(busy, connected, None):
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(read)
    async with runner._measured(busy, connected, port):
        with timed("runner_step", "create"):
            pass
        page = await asyncio.to_thread(read)
        assert await asyncio.to_thread(read, "readyz") == "ready\n"
        link.is_connected = False
        with pytest.raises(urllib.error.HTTPError, match="503"):
            await asyncio.to_thread(read, "readyz")
    assert 'netvps_runner_step_seconds_count{step="create"} 1.0' in page
    assert 'netvps_streams{kind="logs"} 2.0' in page
    assert 'netvps_queue_length{queue="reports"} 3.0' in page
