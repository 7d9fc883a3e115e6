"""Who waits for a revision is woken by it, and by nothing less."""

from __future__ import annotations

import asyncio

from netvps.adapters.store.news import News


async def test_a_waiter_is_woken_by_a_greater_revision_only() -> None:
    news = News()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiter = group.create_task(news.wait(3))
        for revision in (1, 3, 2, 3):
            news.publish(revision)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiter.done()
        news.publish(4)
    assert waiter.done()


async def test_a_publication_between_two_waits_is_not_lost() -> None:
    news = News()
    news.publish(1)
    await asyncio.wait_for(news.wait(0), 1)
    news.publish(2)
    await asyncio.wait_for(news.wait(1), 1)


async def test_all_waiters_are_woken_at_once() -> None:
    news = News()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        waiters = [group.create_task(news.wait(0)) for _ in range(100)]
        await asyncio.sleep(0)
        waiters[50].cancel()
        news.publish(1)
    assert [w.cancelled() for w in waiters].count(True) == 1
