"""Reports which sessions' stored URLs changed, so that open requests to them are decided about again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.http.stored import StoredUrl
from netvps.errors import TooOld
from netvps.services.feed import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.feed import Feed


async def report_url_changes(feed: Feed, changed: Callable[[str], None]) -> None:
    """Calls `changed` with the uid of a session after each change of its stored URLs, until cancelled.

    With "" for all sessions, if changes were lost. Raises Unavailable when the feed ends.
    """
    while True:
        try:
            async with feed.subscribe(Topic(StoredUrl.kind)) as news:
                async for change in news:
                    if isinstance(change.resource, StoredUrl):
                        changed(change.resource.session)
        except TooOld:
            changed("")
