"""How `netvps up` starts its two programs; what becomes of them is in tests/e2e."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from netvps.programs import up
from netvps.programs.control_plane import build
from netvps.programs.stopping import Stop
from netvps.settings import ServerSettings, load


def test_settings_reach_the_programs_as_flags_but_secrets_do_not(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:hush@h/d")
    flags = {"ssh_port": "22", "state_dir": "/s", "database_url_file": str(tmp_path / "url")}
    told = up._arguments(load(ServerSettings, flags))
    assert told == ["--database-url-file", f"{tmp_path}/url", "--ssh-port", "22", "--state-dir", "/s"]


@pytest.mark.parametrize(
    ("listen", "host"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("192.0.2.1", "192.0.2.1")],
)
def test_the_runner_finds_the_server_wherever_it_listens(listen: str, host: str) -> None:
    settings = load(ServerSettings, {"listen": listen})
    assert up._to(settings) == ["--server", f"{host}:7443", "--link", f"{host}:7444"]


async def test_the_join_token_is_in_a_private_file_for_as_long_as_needed(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    folders = settings.paths
    folders.prepare()
    async with build(settings), up._join_token(folders) as flags:
        file = Path(flags[1])
        assert flags[0] == "--join-token-file"
        assert file.read_text().startswith("nvj_")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


async def test_a_machine_that_joined_needs_no_token(server_flags: dict[str, str]) -> None:
    folders = load(ServerSettings, server_flags).paths
    folders.prepare()
    (folders.state / "runner").mkdir()
    (folders.state / "runner/identity").touch()
    async with up._join_token(folders) as flags:
        assert flags == []


async def test_a_second_signal_hurries_the_server() -> None:
    class Impatient:
        hurried = asyncio.Event()

        def hurry(self) -> None:
            self.hurried.set()

    stop, child = Stop(), Impatient()
    stop.request()
    stop.request()
    await up._hurry(stop, child)  # type: ignore[arg-type]
    assert child.hurried.is_set()
