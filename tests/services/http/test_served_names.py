"""Names at which something is served, from memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.http.site import Site
from netvps.domain.http.stored import Audience, StoredUrl
from netvps.services.feed import Feed
from netvps.services.http.served_names import ServedNames
from netvps.tasks import Tasks
from tests.fakes.world import ALICE
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.fakes.world import World

SITE = Site.parse("https://apps.example", "root")


async def until_served(names: ServedNames, host: str, served: bool = True) -> None:
    async with asyncio.timeout(PATIENCE):
        while names.serves(host) != served:
            await asyncio.sleep(0.001)


async def test_what_exists_is_served_and_nothing_else(world: World) -> None:
    session = await world.session("dev1", ALICE)
    names = ServedNames(world.store, world.feed, world.clock, SITE)
    async with Tasks() as tasks:
        tasks.start(world.feed.run(), name="feed")
        tasks.start(names.run(), name="names")
        await until_served(names, "dev1--alice.apps.example")
        assert names.serves("3000--dev1--alice.apps.example")
        assert names.serves("login.apps.example")
        for host in (
            *("", "apps.example", "dev2--alice.apps.example", "dev1--bob.apps.example", "a.dev1--alice.apps.example"),
            *("dev1--alice.other.example", "99999--dev1--alice.apps.example", "shop.example", "*.apps.example"),
        ):
            assert not names.serves(host), host
        own = StoredUrl(session.uid, "alice", 80, Audience.PUBLIC, world.clock(), "shop.example")
        async with world.store.write("test") as tx:
            await tx.put(replace(session, name="web"))
            await tx.put(own)
        await until_served(names, "shop.example")
        assert names.serves("web--alice.apps.example")
        assert not names.serves("dev1--alice.apps.example")
        async with world.store.write("test") as tx:
            await tx.put(replace(own, expire_time=world.clock()))
        await until_served(names, "shop.example", served=False)
        async with world.store.write("test") as tx:
            await tx.delete(own)
            await tx.delete(session)
        await until_served(names, "web--alice.apps.example", served=False)


async def test_who_missed_changes_reads_all_again(world: World) -> None:
    feed = Feed(world.store, queue_length=0)
    names = ServedNames(world.store, feed, world.clock, SITE)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        tasks.start(names.run(), name="names")
        while not feed._subscriptions:
            await asyncio.sleep(0)
        await world.session("dev1", ALICE)
        await until_served(names, "dev1--alice.apps.example")
