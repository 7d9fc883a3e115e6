"""Reports what changed of who may open which session, so that no gateway relies on what it was answered before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.http.stored import StoredUrl
from netvps.domain.session.session import Session
from netvps.errors import TooOld
from netvps.services.feed import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.feed import Feed


async def report_url_changes(feed: Feed, urls: Callable[[str], None], session: Callable[[str], None]) -> None:
    """Calls `urls` with the uid of a session after each change of its stored URLs, and `session` after one of itself.

    Until cancelled; with "" for all sessions, if changes were lost. Raises Unavailable when the feed ends.
    """
    while True:
        try:
            async with feed.subscribe(Topic(StoredUrl.kind), Topic(Session.kind)) as news:
                async for change in news:
                    match change.resource:
                        case StoredUrl(session=uid):
                            urls(uid)
                        case Session(uid=uid):
                            session(uid)
        except TooOld:
            urls("")
            session("")
