"""Calls are bounded in number and in time."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest

from netvps.adapters.docker.errors import EngineSlow
from netvps.adapters.docker.pool import Pool
from netvps.urgency import urgency


async def test_results_and_errors_come_back() -> None:
    pool = Pool("test", 1)
    assert await pool.run(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0, 5)


async def test_a_call_that_hangs_times_out_and_still_holds_its_place() -> None:
    pool, gate = Pool("test", 1), threading.Event()
    with pytest.raises(EngineSlow):
        await pool.run(gate.wait, 0.05)
    waiting = asyncio.create_task(pool.run(lambda: 1, 5))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    gate.set()
    assert await waiting == 1


async def test_the_wait_for_a_place_is_no_part_of_a_call_s_time() -> None:
    """A mass stop: each of 120 calls takes much less than it may, and the last waits for much longer than that."""
    pool, seconds = Pool("test", 2), 1.0
    began = time.monotonic()
    assert await asyncio.gather(*(pool.run(partial(_slow, number), seconds) for number in range(120))) == [*range(120)]
    assert time.monotonic() - began > 2 * seconds


async def test_who_gives_up_waiting_for_a_place_takes_none() -> None:
    pool, gate = Pool("test", 1), threading.Event()
    first = asyncio.create_task(pool.run(gate.wait, 5))
    second = asyncio.create_task(pool.run(lambda: None, 5))
    await asyncio.sleep(0)
    second.cancel()
    gate.set()
    assert await first
    assert await pool.run(lambda: 1, 5) == 1


async def test_what_a_person_waits_for_goes_first() -> None:
    pool, gate, order = Pool("test", 1), threading.Event(), list[int]()
    first = asyncio.create_task(pool.run(gate.wait, 5))
    await asyncio.sleep(0)

    async def call(number: int) -> None:
        with urgency(urgent=number in {3, 4}):
            await pool.run(lambda: order.append(number), 5)

    others = [asyncio.create_task(call(number)) for number in range(6)]
    await asyncio.sleep(0)
    others[3].cancel()  # it gives up
    gate.set()
    await first
    await asyncio.gather(*others, return_exceptions=True)
    assert order == [4, 0, 1, 2, 5]
    assert not pool.full


def _slow(number: int) -> int:
    time.sleep(0.04)
    return number


async def test_no_more_than_its_size_at_once() -> None:
    pool, lock, now, most = Pool("test", 2), threading.Lock(), 0, 0
    barrier = threading.Barrier(2, timeout=5)

    def call() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        barrier.wait()
        with lock:
            now -= 1

    await asyncio.gather(*(pool.run(call, 10) for _ in range(6)))
    assert most == 2
