"""The table of the last uses of API keys, which no log of revisions follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from netvps.adapters.store.codec import from_micros, to_micros
from netvps.adapters.store.tables import KINDS, key_use
from netvps.domain.access.accounts import Credential

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from netvps.adapters.store.connection import Connection


async def write_key_uses(connection: Connection, uses: Mapping[str, datetime]) -> None:
    """Stores later uses, and forgets those of keys that were removed."""
    known = set((await connection.run(select(key_use.c.kid).where(key_use.c.kid.in_(uses)))).scalars())
    for kid, time in uses.items():
        micros = to_micros(time)
        if kid in known:
            later = update(key_use).where(key_use.c.kid == kid, key_use.c.time < micros)
            await connection.run(later.values(time=micros))
        else:
            await connection.run(insert(key_use).values(kid=kid, time=micros))
    credentials = KINDS[Credential.kind].table
    await connection.run(delete(key_use).where(key_use.c.kid.not_in(select(credentials.c.key))))


async def read_key_uses(connection: Connection, kids: Collection[str]) -> dict[str, datetime]:
    """The stored uses of those that have one."""
    rows = await connection.run(select(key_use).where(key_use.c.kid.in_(kids)))
    return {row.kid: from_micros(row.time) for row in rows}
