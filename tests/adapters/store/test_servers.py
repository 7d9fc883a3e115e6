"""The servers of one database, on real databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.store import open_store
from netvps.adapters.store import store as store_module
from netvps.domain.access.accounts import Credential
from netvps.domain.peer_server import PeerServer
from tests.adapters.store.conftest import NOW
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.adapters.store.store import SqlStore

LEASE = timedelta(hours=1)
ONE, TWO = PeerServer("1", "a:7444"), PeerServer("2", "b:7444")


async def test_a_server_knows_the_others_until_their_lease_ends_or_they_leave(store: SqlStore) -> None:
    assert await store.renew_server(ONE, LEASE) == []
    assert await store.renew_server(TWO, LEASE) == [ONE]
    assert await store.renew_server(ONE, LEASE) == [TWO]
    await store.forget_server(TWO.uid)
    assert await store.renew_server(ONE, LEASE) == []
    moved = PeerServer("1", "c:7444")
    await store.renew_server(moved, LEASE)
    assert await store.renew_server(TWO, LEASE) == [moved]
    await store.renew_server(ONE, -LEASE)  # by the database's clock it has ended
    assert await store.renew_server(TWO, LEASE) == []
    assert await store.changes(0, 9) == []


async def test_a_commit_is_reported_with_its_revision_and_nothing_else_is(store: SqlStore) -> None:
    committed: list[int] = []
    store.on_commit = committed.append
    async with store.write("test") as tx:
        await tx.put(Credential("a", "api", "alice", "", NOW, None))
    async with store.write("test"):
        pass
    await store.renew_server(ONE, LEASE)
    assert committed == [1]


async def test_a_nudge_finds_the_commit_of_another_process_and_is_never_ahead_of_it(
    url: str, store: SqlStore, clock: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_POLL_SECONDS", 3600.0)
    async with open_store(url, clock) as other, asyncio.timeout(PATIENCE):  # type: ignore[arg-type]
        other.nudge(1_000_000)  # of a revision that never was
        waiting = asyncio.ensure_future(other.wait(0))
        async with store.write("test") as tx:
            await tx.put(Credential("a", "api", "alice", "", NOW, None))
        other.nudge(1)
        await waiting
        after = asyncio.ensure_future(other.wait(1))
        other.nudge(1_000_000)
        async with other.read():
            pass
        assert not after.done()
        after.cancel()
