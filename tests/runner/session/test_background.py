"""One job at a time, whose end is reported once, and only while it is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from netvps.runner.session.background import Background
from netvps.runner.session.wake import Wake


async def test_a_job_runs_once_and_its_end_wakes_and_is_reported_once() -> None:
    background, wake, go_on, ran = Background(), Wake(), asyncio.Event(), []

    async def job(_: Callable[[], bool]) -> None:
        ran.append(1)
        await go_on.wait()

    assert background.run(job, wake, name="job") is False
    await asyncio.sleep(0)
    assert background.run(job, wake, name="job") is False
    assert background.busy
    go_on.set()
    await wake.wait(5)
    assert background.run(job, wake, name="job") is True
    assert ran == [1]
    assert background.run(job, wake, name="job") is False
    await background.end()
    assert ran == [1, 1]


async def test_a_failure_is_raised_where_the_job_was_asked_for() -> None:
    background, wake = Background(), Wake()

    async def job(_: Callable[[], bool]) -> None:
        raise ValueError("no")

    background.run(job, wake, name="job")
    await wake.wait(5)
    with pytest.raises(ValueError, match="no"):
        background.run(job, wake, name="job")
    await background.close()


async def test_a_job_that_was_given_up_reports_nothing() -> None:
    background, wake, reported = Background(), Wake(), []

    async def job(given_up: Callable[[], bool]) -> None:
        while not given_up():
            await asyncio.sleep(0)
        reported.append(given_up())
        raise ValueError("no")

    background.run(job, wake, name="first")
    await asyncio.sleep(0)
    await background.end()
    assert reported == [True]
    assert background.run(job, wake, name="second") is False
    assert background.busy
    await background.close()
    assert not background.busy
