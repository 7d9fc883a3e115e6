from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Credential
from netvps.errors import Unavailable
from netvps.services.access import key_uses
from netvps.services.access.key_uses import KeyUseLog
from netvps.tasks import Tasks
from tests.fakes.store import MemoryStore
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)


class _Store(MemoryStore):
    full = False

    async def note_key_uses(self, uses: Mapping[str, datetime]) -> None:
        if self.full:
            raise Unavailable("the disk is full")
        await super().note_key_uses(uses)


@pytest.fixture
async def store() -> _Store:
    """Has the keys "a" and "b"."""
    made = _Store(lambda: NOW)
    async with made.write("test") as tx:
        for kid in ("a", "b"):
            await tx.put(Credential(kid, "api", "alice", "", NOW, None))
    return made


async def test_uses_are_written_together_without_a_revision(store: _Store) -> None:
    log, revision = KeyUseLog(store), store.revision
    for kid, time in (("a", NOW), ("a", LATER), ("gone", NOW)):
        log.note(kid, time)
    assert await log.last_uses(["a", "b"]) == {"a": LATER}  # also before they are written
    await log.flush()
    assert await KeyUseLog(store).last_uses(["a", "b", "gone"]) == {"a": LATER}
    assert store.revision == revision


async def test_what_cannot_be_written_is_written_later(store: _Store) -> None:
    log, store.full = KeyUseLog(store), True
    log.note("a", NOW)
    await log.flush()
    log.note("b", NOW)
    store.full = False
    await log.flush()
    assert await store.key_uses(["a", "b"]) == {"a": NOW, "b": NOW}


async def test_it_writes_by_itself_and_at_its_end(store: _Store, monkeypatch: pytest.MonkeyPatch) -> None:
    log = KeyUseLog(store)
    async with asyncio.timeout(PATIENCE):
        async with Tasks() as tasks:
            tasks.start(log.run(), name="uses")
            log.note("a", NOW)
            await asyncio.sleep(0)  # it has begun
        assert await store.key_uses(["a"]) == {"a": NOW}
        monkeypatch.setattr(key_uses, "_INTERVAL", 0.0)
        async with Tasks() as tasks:
            tasks.start(log.run(), name="uses")
            log.note("b", NOW)
            while not await store.key_uses(["b"]):
                await asyncio.sleep(0)
