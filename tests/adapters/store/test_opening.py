"""An open store keeps the event loop free and leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.store import open_store
from netvps.domain.runner.runner import Lease
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    Clock = Callable[[], datetime]


async def test_closing_ends_its_tasks_and_threads(url: str, clock: Clock) -> None:
    def mine() -> set[str]:
        return {t.name for t in threading.enumerate() if "_connection_worker_thread" in t.name}

    async def fail() -> None:
        async with open_store(url, clock) as store:
            async with store.write("me") as transaction:
                await transaction.put(Lease("10.0.0.0/22", "r1", 1))
            raise ZeroDivisionError

    tasks = asyncio.all_tasks()
    with pytest.raises(ZeroDivisionError):
        await fail()
    assert asyncio.all_tasks() == tasks
    async with asyncio.timeout(PATIENCE):  # the last of a thread comes after the last of its work
        while mine():
            await asyncio.sleep(0.01)
