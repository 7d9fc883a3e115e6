"""What others may do with a session ends with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.access.sharing import Share, ShareRole
from netvps.domain.http.stored import Audience, StoredUrl
from netvps.services.sharing.removal import remove_access
from tests.fakes.world import ALICE

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_shares_and_urls_of_one_session_are_removed(world: World) -> None:
    first, second = await world.session("dev1"), await world.session("dev2")
    for session in (first, second):
        await world.shares.put(ALICE, session.name, "bob", ShareRole.USE)
        async with world.store.write("test") as tx:
            await tx.put(StoredUrl(session.uid, "alice", 80, Audience.PUBLIC, world.clock()))
    async with world.store.write("test") as tx:
        await remove_access(tx, first.uid)
    assert [share.session for share in await world.rows(Share)] == [second.uid]
    assert [url.session for url in await world.rows(StoredUrl)] == [second.uid]
