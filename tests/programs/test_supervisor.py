"""Children of `netvps up`: real servers, killed and watched."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.programs.supervisor import Child


def _pid(state: Path) -> int:
    return int((state / "server.lock").read_text())


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def _until_another(state: Path, pid: int) -> int:
    async with asyncio.timeout(30):
        while (now := _pid(state)) == pid:
            await asyncio.sleep(0.05)  # a process of its own: there is nothing to await
    return now


async def test_a_child_that_is_killed_is_started_again(arguments: list[str], state: Path) -> None:
    child = Child("server", arguments, os.environ, 10)
    try:
        await child.start()
        first = _pid(state)
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(child.keep())
            os.kill(first, signal.SIGKILL)
            second = await _until_another(state, first)
            keeping.cancel()
        assert _lives(second)
    finally:
        await child.stop()
    assert not _lives(second)


async def test_what_was_said_at_the_first_start_is_not_said_again(arguments: list[str], state: Path) -> None:
    child = Child("server", arguments, os.environ, 10)
    try:
        await child.start("--verbose")
        first = _pid(state)
        assert b"--verbose" in Path(f"/proc/{first}/cmdline").read_bytes()
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(child.keep())
            os.kill(first, signal.SIGKILL)
            second = await _until_another(state, first)
            keeping.cancel()
        assert b"--verbose" not in Path(f"/proc/{second}/cmdline").read_bytes()
    finally:
        await child.stop()


async def test_an_error_at_the_start_is_the_childs_own_sentence(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    child = Child("server", [*arguments, "--state-dir", str(tmp_path / "file/x")], os.environ, 10)
    with pytest.raises(ConfigError, match="cannot make folder"):
        await child.start()


async def test_to_stop_twice_or_before_the_start_is_fine(arguments: list[str]) -> None:
    child = Child("server", arguments, os.environ, 10)
    await child.stop()
    await child.start()
    await child.stop()
    await child.stop()
