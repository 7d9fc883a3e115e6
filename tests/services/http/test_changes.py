"""Changes of stored URLs name their session."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from netvps.domain.http.stored import Audience, StoredUrl
from netvps.services.feed import Feed
from netvps.services.http.changes import report_url_changes
from netvps.tasks import Tasks
from tests.fakes.world import ALICE
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_changes_name_the_session_and_lost_ones_all(world: World) -> None:
    session = await world.session("dev1", ALICE)
    url = StoredUrl(session.uid, "alice", 80, Audience.PUBLIC, world.clock())
    for feed, expected in ((world.feed, session.uid), (Feed(world.store, queue_length=0), "")):
        urls: asyncio.Queue[str] = asyncio.Queue()
        sessions: asyncio.Queue[str] = asyncio.Queue()
        async with Tasks() as tasks, asyncio.timeout(PATIENCE):
            if feed is not world.feed:
                tasks.start(feed.run(), name="feed")
            tasks.start(report_url_changes(feed, urls.put_nowait, sessions.put_nowait), name="changes")
            while not feed._subscriptions:
                await asyncio.sleep(0)
            async with world.store.write("test") as tx:
                await tx.put(url)
                await tx.put(session)
            assert (await urls.get(), await sessions.get()) == (expected, expected)
