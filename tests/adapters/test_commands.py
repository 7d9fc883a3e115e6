from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netvps.adapters.commands import run
from netvps.errors import ConfigError, TimedOut


async def test_a_program_is_fed_and_heard() -> None:
    answer = await run("sh", "-c", "cat; echo one >&2; echo two >&2; exit 3", stdin="said")
    assert (answer.code, answer.out, answer.why) == (3, "said", "one")


async def test_a_program_that_does_not_read_is_no_problem() -> None:
    assert (await run("true", stdin="x" * 1_000_000)).code == 0


async def test_one_that_fails_without_a_word_has_its_code() -> None:
    assert (await run("false")).why == "exit code 1"


async def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot run no-such-program: No such file or directory"):
        await run("no-such-program")


async def test_one_that_hangs_is_ended(tmp_path: Path) -> None:
    with pytest.raises(TimedOut, match="sh did not end in 0 s"):
        await run("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60", seconds=0.3)
    await _ended(tmp_path / "pid")


async def test_one_without_a_waiter_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    task = asyncio.create_task(run("sh", "-c", f"echo $$ > {pid}; exec sleep 60"))
    while not (pid.exists() and pid.read_text()):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _ended(pid)


async def _ended(pid: Path) -> None:
    if pid.exists() and (number := pid.read_text().strip()):
        while Path(f"/proc/{number}").exists():
            await asyncio.sleep(0.01)
