from __future__ import annotations

import os

from netvps.programs.readiness import Outcome, Readiness, await_outcome


async def test_ready_is_told_once() -> None:
    reading, writing = os.pipe()
    readiness = Readiness(writing)
    readiness.ready()
    readiness.failed("later", 1)
    assert await await_outcome(reading) == Outcome()


async def test_a_failure_is_told_with_its_code() -> None:
    reading, writing = os.pipe()
    Readiness(writing).failed("port 2222 is taken", 10)
    assert await await_outcome(reading) == Outcome("port 2222 is taken", 10)


async def test_a_death_without_a_word_is_heard() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    assert await await_outcome(reading) is None


def test_nobody_waits() -> None:
    Readiness(None).ready()
    reading, writing = os.pipe()
    os.close(reading)
    Readiness(writing).ready()
