"""The agent's program is kept by digest."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import ConfigError
from netvps.runner.agent import drop_unused_agents, keep_agent
from tests.runner.lab import Lab, Until
from tests.support.images import busybox_archive, import_image


def test_an_upgrade_leaves_the_old_one_where_it_is(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"one")
    first = keep_agent(program, tmp_path)
    program.write_bytes(b"two")
    second = keep_agent(program, tmp_path)
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert second == keep_agent(program, tmp_path)
    assert second.stat().st_mode & 0o777 == 0o755


def test_what_no_container_mounts_goes_and_the_current_one_never(tmp_path: Path) -> None:
    program = tmp_path / "program"
    kept = []
    for content in (b"unused", b"mounted", b"elsewhere", b"current"):
        program.write_bytes(content)
        kept.append(keep_agent(program, tmp_path))
    foreign = tmp_path / "agent/notes"
    foreign.mkdir()
    by_another_path = Path("/other") / kept[2].relative_to(tmp_path)
    drop_unused_agents(kept[3], frozenset({str(kept[1]), str(by_another_path), "/var/lib/x"}))
    assert [path.exists() for path in kept] == [False, True, True, True]
    assert foreign.exists()


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("netvps.runner.agent.write_file", full)
    program = tmp_path / "program"
    program.write_bytes(b"one")
    with pytest.raises(ConfigError, match="No space left on device"):
        keep_agent(program, tmp_path)


def test_a_missing_program_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the agent"):
        keep_agent(tmp_path / "none", tmp_path)


@pytest.fixture
def with_command() -> Iterator[str]:
    """An image whose command fails twice, and whose variables would end a Go program."""
    reference = f"netvps-test-{secrets.token_hex(4)}:latest"
    script = 'echo "$(id -un) $(pwd) $HOME" >>/tmp/runs; [ $(wc -l </tmp/runs) = 3 ] || exit 1'
    lines = (
        f"CMD {json.dumps(['sh', '-c', script])}",
        "USER nobody",
        "WORKDIR /srv",
        "ENV GOMEMLIMIT=much GODEBUG=x=y",
    )
    import_image(busybox_archive(), reference, changes=lines)
    yield reference
    subprocess.run(["docker", "rmi", "-f", reference], stdout=subprocess.DEVNULL, check=False, timeout=60)


@pytest.mark.docker
async def test_the_images_command_runs_as_the_image_says(lab: Lab, with_command: str, eventually: Until) -> None:
    spec = SessionSpec(
        image=with_command, run_entrypoint=True, network=Network.NONE, shm_bytes=3 << 20, open_files=1234
    )
    assignment = lab.session(spec)
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)

        async def ran() -> bool:
            return await lab.run_in(assignment, "cat", "/tmp/runs") == "nobody /srv /tmp\n" * 3

        await eventually(ran)
        assert "3072" in await lab.run_in(assignment, "df", "-k", "/dev/shm")
        assert await lab.run_in(assignment, "sh", "-c", "ulimit -Sn; ulimit -Hn") == "1234\n1234\n"
        for name in ("::1", "localhost", "dev1"):  # its own name, also without a network
            assert "0% packet loss" in await lab.run_in(assignment, "ping", "-c", "1", name)
