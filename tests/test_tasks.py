from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from structlog.testing import capture_logs

from netvps.tasks import Tasks, until


async def _forever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


async def test_the_end_of_the_block_ends_all_tasks() -> None:
    ended: list[str] = []
    async with Tasks() as tasks:
        for name in ("a", "b"):
            tasks.start(_forever(ended, name), name=name)
        await asyncio.sleep(0)
        assert len(tasks) == 2
    assert sorted(ended) == ["a", "b"]
    assert len(tasks) == 0


async def test_a_task_that_fails_is_heard_of_and_ends_no_other() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    ended: list[str] = []
    with capture_logs() as logs:
        async with Tasks() as tasks:
            tasks.start(_forever(ended, "other"), name="other")
            failed = tasks.start(fail(), name="failing")
            await asyncio.wait([failed])
            await asyncio.sleep(0)
            assert (len(tasks), ended) == (1, [])
    assert [(entry["event"], entry["task"], str(entry["exc_info"])) for entry in logs] == [
        ("task failed", "failing", "broken")
    ]


async def test_a_task_that_ends_is_kept_no_longer_and_gives_its_result() -> None:
    async def answer() -> int:
        return 42

    async with Tasks() as tasks:
        task = tasks.start(answer(), name="answer")
        assert await task == 42
        await asyncio.sleep(0)
        assert len(tasks) == 0


async def test_nothing_starts_after_the_end() -> None:
    async with Tasks() as tasks:
        pass
    ended: list[str] = []
    with pytest.raises(RuntimeError, match="task late was started after its owner was closed"):
        tasks.start(_forever(ended, "late"), name="late")


async def test_a_task_may_end_the_others_and_itself_goes_on() -> None:
    ended: list[str] = []
    async with Tasks() as tasks:
        tasks.start(_forever(ended, "other"), name="other")

        async def end_others() -> str:
            await asyncio.sleep(0)
            await tasks.cancel()
            return "still here"

        assert await tasks.start(end_others(), name="ending") == "still here"
    assert ended == ["other"]


async def test_an_error_in_the_block_passes_and_ends_the_tasks() -> None:
    ended: list[str] = []

    async def break_off() -> None:
        async with Tasks() as tasks:
            tasks.start(_forever(ended, "a"), name="a")
            await asyncio.sleep(0)
            raise ValueError("outside")

    with pytest.raises(ValueError, match="outside"):
        await break_off()
    assert ended == ["a"]


async def test_items_come_until_a_deadline_and_are_closed() -> None:
    closed: list[str] = []

    async def items(name: str, *, hang: bool) -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
            if hang:
                await asyncio.Event().wait()
        finally:
            closed.append(name)

    now = asyncio.get_running_loop().time()
    assert [item async for item in until(now + 60, items("ended", hang=False))] == [1, 2]
    late = until(now + 0.01, items("late", hang=True))
    found = [await anext(late), await anext(late)]
    with pytest.raises(TimeoutError):
        await anext(late)
    left = until(now + 60, items("left", hang=True))
    assert await anext(left) == 1
    await left.aclose()
    assert (found, closed) == ([1, 2], ["ended", "late", "left"])
