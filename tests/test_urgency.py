"""What a person waits for is marked for its own task."""

from __future__ import annotations

import asyncio

from netvps.urgency import is_urgent, urgency


async def test_the_mark_is_the_tasks_own_and_ends_with_the_block() -> None:
    marked, looked = asyncio.Event(), asyncio.Event()

    async def other() -> bool:
        await marked.wait()
        looked.set()
        return is_urgent()

    beside = asyncio.create_task(other())
    with urgency(urgent=True):
        marked.set()
        await looked.wait()
        assert is_urgent()
        with urgency(urgent=False):
            assert not is_urgent()
    assert not is_urgent()
    assert not await beside
