"""The last uses of API keys on real databases."""

from __future__ import annotations

from datetime import timedelta

from netvps.adapters.store.store import SqlStore
from netvps.domain.access.accounts import Credential
from tests.adapters.store.conftest import NOW


async def test_the_last_use_is_kept_with_its_key_and_makes_no_revision(store: SqlStore) -> None:
    async with store.write("test") as tx:
        keys = [await tx.put(Credential(kid, "api", "alice", "", NOW, None)) for kid in ("a", "b")]
    later = NOW + timedelta(seconds=1)
    await store.note_key_uses({"a": later, "b": NOW, "none": NOW})
    await store.note_key_uses({"a": NOW, "b": later})
    assert await store.key_uses(["a", "b", "none"]) == {"a": later, "b": later}
    assert [change.revision for change in await store.changes(0, 9)] == [1, 2]
    async with store.write("test") as tx:
        await tx.delete(keys[0])
    await store.note_key_uses({"b": later})
    assert await store.key_uses(["a", "b"]) == {"b": later}
