"""Children of `netvps up`, killed and watched: real servers, or children that start in a moment."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from netvps.errors import ConfigError, TimedOut
from netvps.process import supervisor
from netvps.process.supervisor import Child, ChildDied, Watchdog
from tests.process.light_child import write_program
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.slow

QUICK = Watchdog(beat_every=0.1, silent=2.0, grace=1.0)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Children are none of netvps' programs, but start and end as those do."""
    write_program(tmp_path / "child")
    monkeypatch.setattr(supervisor, "sys", SimpleNamespace(executable=str(tmp_path / "child")))


def _pid(state: Path) -> int:
    return int((state / "server.lock").read_text())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _until_another(state: Path, pid: int) -> int:
    async with asyncio.timeout(PATIENCE):
        while (now := _pid(state)) == pid:
            await asyncio.sleep(0.05)  # a process of its own: there is nothing to await
    return now


async def _until_said(logged: Sequence[Mapping[str, object]], event: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while event not in [line["event"] for line in logged]:
            await asyncio.sleep(0.05)


async def test_a_child_that_is_killed_is_started_again(arguments: list[str], state: Path) -> None:
    child = Child("server", arguments, os.environ, 10)
    try:
        await child.start()
        first = _pid(state)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(child.supervise())
            os.kill(first, signal.SIGKILL)
            second = await _until_another(state, first)
            keeping.cancel()
        assert _lives(second)
    finally:
        await child.stop()
    assert not _lives(second)


@pytest.mark.usefixtures("light")
async def test_what_was_said_at_the_first_start_is_not_said_again(arguments: list[str], state: Path) -> None:
    child = Child("server", arguments, os.environ, 10)
    try:
        await child.start("--verbose")
        first = _pid(state)
        assert b"--verbose" in Path(f"/proc/{first}/cmdline").read_bytes()
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(child.supervise())
            os.kill(first, signal.SIGKILL)
            second = await _until_another(state, first)
            keeping.cancel()
        assert b"--verbose" not in Path(f"/proc/{second}/cmdline").read_bytes()
    finally:
        await child.stop()


@pytest.mark.usefixtures("light")
async def test_a_child_that_hangs_is_said_to_killed_and_started_again(arguments: list[str], state: Path) -> None:
    child = Child("server", arguments, os.environ, 10, QUICK)
    try:
        await child.start()
        first = _pid(state)
        with capture_logs() as logged:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(child.supervise())
                os.kill(first, signal.SIGSTOP)
                await _until_another(state, first)
                await child.serving.wait()
                keeping.cancel()
        assert not _lives(first)
        said = [line["event"].partition(",")[0] for line in logged]
        assert said == [
            "a child process hangs",
            "killing a hanging child process",
            "a child process ended unexpectedly",
            "a child process runs again",
        ]
        assert child.deaths == 1
    finally:
        await child.stop()


@pytest.mark.usefixtures("light")
async def test_a_child_that_was_only_slow_lives_on(arguments: list[str], state: Path) -> None:
    child = Child("server", arguments, os.environ, 10, Watchdog(beat_every=0.1, silent=2.0, grace=60.0))
    try:
        await child.start()
        first = _pid(state)
        with capture_logs() as logged:
            async with asyncio.TaskGroup() as group:
                keeping = group.create_task(child.supervise())
                os.kill(first, signal.SIGSTOP)
                await _until_said(logged, "a child process hangs")
                os.kill(first, signal.SIGCONT)
                await _until_said(logged, "a child process responds again")
                keeping.cancel()
        assert (_pid(state), _lives(first), child.deaths) == (first, True, 0)
    finally:
        await child.stop()


@pytest.mark.usefixtures("light")
async def test_a_child_that_hangs_is_stopped_without_waiting_for_it(arguments: list[str], state: Path) -> None:
    child = Child("server", arguments, os.environ, 600, Watchdog(beat_every=0.1, silent=2.0, grace=600.0))
    await child.start()
    first = _pid(state)
    with capture_logs() as logged:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(child.supervise())
            os.kill(first, signal.SIGSTOP)
            await _until_said(logged, "a child process hangs")
            keeping.cancel()
    await asyncio.wait_for(child.stop(), PATIENCE)
    assert not _lives(first)


async def test_a_child_tells_where_it_is_when_asked(
    arguments: list[str], state: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    child = Child("server", arguments, os.environ, 10)
    try:
        await child.start()
        async with asyncio.timeout(PATIENCE):
            while "run_to_end" not in capfd.readouterr().err:  # taking it may lose what is being written just then
                os.kill(_pid(state), signal.SIGUSR1)
                await asyncio.sleep(0.2)
        assert _lives(_pid(state))
    finally:
        await child.stop()


async def test_a_death_before_it_is_ready_is_distinguished_from_an_error(arguments: list[str]) -> None:
    child = Child("server", [*arguments, "--no-such-flag"], os.environ, 10)
    with pytest.raises(ChildDied, match="code 2"):
        await child.start()


@pytest.mark.usefixtures("light")
async def test_each_start_that_takes_too_long_gives_the_next_one_more_time(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "START_SECONDS", 0.2)
    child, late = Child("server", [*arguments, "--late", "0.5"], os.environ, 10), 0
    try:
        while not child.serving.is_set():
            try:
                await child.start()
            except TimedOut:
                late += 1
    finally:
        await child.stop()
    assert late > 0


async def test_an_error_at_the_start_is_the_childs_own_sentence(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    child = Child("server", [*arguments, "--state-dir", str(tmp_path / "file/x")], os.environ, 10)
    with pytest.raises(ConfigError, match="cannot make folder"):
        await child.start()


@pytest.mark.usefixtures("light")
async def test_to_stop_twice_or_before_the_start_is_fine(arguments: list[str]) -> None:
    child = Child("server", arguments, os.environ, 10)
    await child.stop()
    await child.start()
    await child.stop()
    await child.stop()
