from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Role
from netvps.domain.access.sharing import ShareRole
from netvps.domain.access.ssh_key import PublicKey
from netvps.services.feed import Feed
from netvps.services.sharing.changes import report_access_changes
from netvps.tasks import Tasks
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB, ROOT
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_changes_of_keys_shares_and_users_name_the_user(world: World) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    await world.session()
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(report_access_changes(world.feed, heard.put_nowait), name="changes")
        while not world.feed._subscriptions:
            await asyncio.sleep(0)
        key = await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(1)))
        assert await heard.get() == "bob"
        await world.shares.put(ALICE, "dev1", "bob", ShareRole.VIEW)
        assert await heard.get() == "bob"
        await world.sessions.stop(ALICE, "dev1")  # says nothing of access
        await world.ssh_keys.delete(BOB, "", key.uid)
        assert await heard.get() == "bob"
        await world.access.create_user(ROOT, "eve", Role.USER)
        assert await heard.get() == "eve"
        credential, _ = await world.access.create_api_key(ROOT, "eve")
        assert await heard.get() == "eve"
        await world.runners.create_join_token(ROOT)  # of no user
        await world.access.delete_api_key(ROOT, "eve", credential.kid)
        assert await heard.get() == "eve"


async def test_who_missed_changes_checks_everyone(world: World) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    feed = Feed(world.store, queue_length=0)
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(feed.run(), name="feed")
        tasks.start(report_access_changes(feed, heard.put_nowait), name="changes")
        while not feed._subscriptions:
            await asyncio.sleep(0)
        await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(1)))
        assert await heard.get() == ""
