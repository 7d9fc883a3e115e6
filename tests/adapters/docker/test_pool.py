"""Calls are bounded in number and in time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from netvps.adapters.docker.errors import EngineSlow
from netvps.adapters.docker.pool import Pool


async def test_results_and_errors_come_back() -> None:
    pool = Pool("test", 1)
    assert await pool.run(lambda: 7, 5) == 7
    with pytest.raises(ZeroDivisionError):
        await pool.run(lambda: 1 // 0, 5)


async def test_a_call_that_hangs_times_out_and_still_holds_its_place() -> None:
    pool, gate = Pool("test", 1), threading.Event()
    with pytest.raises(EngineSlow):
        await pool.run(gate.wait, 0.05)
    with pytest.raises(EngineSlow):
        await pool.run(lambda: 1, 0.05)
    gate.set()
    assert await pool.run(lambda: 1, 5) == 1


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
