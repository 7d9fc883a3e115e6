"""Ends what streams to a user by a share, when the share does not permit it any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from netvps.domain.access.sharing import Share
from netvps.errors import NotPermitted, TooOld
from netvps.services.feed import Topic
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.access.sharing import Right
    from netvps.services.feed import Feed, Subscription
    from netvps.services.ports import Clock, Store

T = TypeVar("T")


class ShareGuard:
    """Watches shares on behalf of streams."""

    def __init__(self, store: Store, clock: Clock, feed: Feed) -> None:
        self._store = store
        self._clock = clock
        self._feed = feed

    async def guarded(self, items: AsyncIterator[T], share: Share | None, right: Right) -> AsyncIterator[T]:
        """Yields the items for as long as the share permits that; who iterates closes them. Raises NotPermitted.

        None: an owner's or an admin's, for which there is nothing to watch.
        """
        if share is None:
            async for item in items:
                yield item
            return
        topic = Topic(Share.kind, "session", share.session)
        async with self._feed.subscribe(topic) as news, Tasks() as tasks:
            ended = tasks.start(self._ended(news, share, right), name=f"share with {share.user}")
            while True:
                try:
                    item = await _next_unless(items, ended)
                except StopAsyncIteration:
                    return
                yield item

    async def _ended(self, news: Subscription, share: Share, right: Right) -> str:
        """Waits until the share does not permit it, or changes were lost; returns which."""
        while True:
            async with self._store.read() as reader:
                now = await reader.get(Share, share.key)
            if now is None or not now.permits(right, self._clock()):
                return f"the share of this session with you ended: ask {share.owner}"
            try:
                await anext(news)
            except TooOld:
                return "changes came faster than they were read: try again"


async def _next_unless(items: AsyncIterator[T], ended: asyncio.Task[str]) -> T:
    """The next item. Raises NotPermitted once `ended` is done, with its result; StopAsyncIteration."""
    limit, loop = asyncio.timeout(0 if ended.done() else None), asyncio.get_running_loop()

    def end(_: object) -> None:
        limit.reschedule(loop.time())

    try:
        async with limit:
            ended.add_done_callback(end)
            try:
                return await anext(items)
            finally:
                ended.remove_done_callback(end)
    except TimeoutError:
        if not limit.expired():
            raise
        raise NotPermitted(ended.result()) from None
