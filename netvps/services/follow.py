"""Follows the log of revisions from any revision on, without a gap and without a duplicate."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.errors import TooOld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from netvps.services.feed import Feed, Topic
    from netvps.services.ports import Change, Store

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Head:
    """Marker for the end of the log."""

    revision: int


async def follow_log(
    store: Store, feed: Feed, after: int, topics: list[Topic], concerns: Callable[[Change], bool]
) -> AsyncGenerator[Change | Head, None]:
    """Yields the changes after a revision without end, and Head once, at the end of the log when it was read.

    Raises TooOld if the log does not reach back far enough, or the reader is too slow.
    """
    async with store.read() as reader:
        if after > reader.revision:
            raise TooOld(
                f"revision {after} is later than the current {reader.revision}, so it is of another log: list again"
            )
    # Sending a list or missed changes may take longer than a subscription's queue can buffer. So changes are read
    # from the log first, and the subscription starts only at its end.
    while changes := await store.changes(after, _CHUNK):
        for change in filter(concerns, changes):
            yield change
        after = changes[-1].revision
    # Subscribes before the last read of the log, so that there is no gap; duplicates are skipped by revision.
    async with feed.subscribe(*topics) as news:
        async with store.read() as reader:
            head = reader.revision
        async with aclosing(_missed(store, after, head)) as missed:
            async for change in missed:
                if concerns(change):
                    yield change
        yield Head(head)
        async for change in news:
            if change.revision > head or (change.ephemeral and change.revision == head):
                yield change


async def _missed(store: Store, after: int, until: int) -> AsyncGenerator[Change, None]:
    while after < until:
        changes = await store.changes(after, _CHUNK)
        for change in changes:
            if change.revision > until:
                return
            yield change
        if not changes:
            return
        after = changes[-1].revision
