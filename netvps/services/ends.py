"""Removes what is stored with an end, when that comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from netvps.errors import NetvpsError, TooOld

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from datetime import datetime

    from netvps.services.feed import Feed, Topic

log = structlog.get_logger()

_LONGEST_SLEEP: Final = 3600.0
_RETRY: Final = 5.0


def seconds_until_next(ends: Iterable[datetime], now: datetime) -> float:
    """How long to sleep until one of the ends comes; an hour at most."""
    return min([_LONGEST_SLEEP, *((end - now).total_seconds() for end in ends if end > now)])


async def run_ends(feed: Feed, topic: Topic, expire: Callable[[], Awaitable[float]]) -> None:
    """Calls `expire` when an end comes, until cancelled; it returns the seconds until that is due again."""
    while True:
        try:
            async with feed.subscribe(topic) as news:
                while True:
                    seconds = await expire()
                    try:
                        async with asyncio.timeout(seconds):
                            await anext(news)
                    except TimeoutError:
                        continue
        except TooOld:
            continue
        except NetvpsError as error:
            log.warning("cannot remove what has ended; retrying", kind=topic.kind, error=error.message)
            await asyncio.sleep(_RETRY)
