from __future__ import annotations

import asyncio
import os
import signal

import pytest

from netvps.process.stopping import Stop
from tests.support.patience import PATIENCE


async def _endlessly(ended: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("ended")


async def test_a_signal_asks_and_a_second_one_hurries() -> None:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(stop.asked.wait(), PATIENCE)
        assert not stop.at_once.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(stop.at_once.wait(), PATIENCE)


async def test_work_is_cancelled_when_a_stop_is_asked_for() -> None:
    ended: list[str] = []
    stop = Stop()
    stop.request()
    await asyncio.wait_for(stop.run(_endlessly(ended)), 5)
    assert ended in ([], ["ended"])  # it may not even have begun


async def test_the_error_of_the_work_comes_out() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as error:
        await Stop().run(fail())
    assert str(error.value.exceptions[0]) == "broken"


async def test_drain_waits_for_the_work() -> None:
    assert await Stop().drain(asyncio.sleep(0), 5)


async def test_drain_ends_with_its_time_or_the_second_signal() -> None:
    ended: list[str] = []
    assert not await Stop().drain(_endlessly(ended), 0.01)
    hurried = Stop()
    hurried.request()
    hurried.request()
    assert not await asyncio.wait_for(hurried.drain(_endlessly(ended), 60), 5)
    assert ended == ["ended", "ended"]
