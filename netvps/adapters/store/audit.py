"""The table of the audit log: appending to its chain, reading, and deleting what is too old."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, select

from netvps.adapters.store.codec import from_micros, to_micros
from netvps.adapters.store.tables import audit
from netvps.domain.access.audit import AuditEvent, AuditRecord, pruned, record

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row

    from netvps.adapters.store.connection import Connection
    from netvps.domain.access.audit import AuditQuery

_PRUNE_AT_ONCE: Final = 5000  # as it blocks other writers


class AuditChain:
    """The end of the chain within a transaction, and the rows that the transaction appends."""

    def __init__(self, number: int, digest: str) -> None:
        self.number, self.digest = number, digest
        self.appended: list[dict[str, Any]] = []

    def append(self, time: datetime, event: AuditEvent) -> None:
        """Appends a record."""
        made = record(self.number + 1, time, event.bounded(), self.digest)
        self.number, self.digest = made.number, made.digest
        self.appended.append(_row(made))


async def read_audit(connection: Connection, query: AuditQuery) -> list[AuditRecord]:
    """Reads records."""
    columns = audit.c
    statement = select(audit).where(columns.number > query.after).limit(query.limit)
    if query.before:
        statement = statement.where(columns.number < query.before)
    for column, value in ((columns.actor, query.actor), (columns.target, query.target), (columns.action, query.action)):
        if value:
            statement = statement.where(column == value)
    if query.since is not None:
        statement = statement.where(columns.time >= to_micros(query.since))
    if query.until is not None:
        statement = statement.where(columns.time < to_micros(query.until))
    order = columns.number.desc() if query.newest_first else columns.number
    return [_record(row) for row in await connection.run(statement.order_by(order))]


async def prune_audit(connection: Connection, chain: AuditChain, before: datetime, now: datetime) -> int:
    """Deletes the oldest records, but never the newest, and appends a record of that; returns their number."""
    old = select(audit).where(audit.c.time < to_micros(before), audit.c.number < chain.number)
    oldest = [_record(row) for row in await connection.run(old.order_by(audit.c.number).limit(_PRUNE_AT_ONCE))]
    if not oldest:
        return 0
    await connection.run(delete(audit).where(audit.c.number <= oldest[-1].number))
    chain.append(now, pruned(oldest[-1]))
    return len(oldest)


def _row(made: AuditRecord) -> dict[str, Any]:
    event = made.event
    return {
        "number": made.number,
        "time": to_micros(made.time),
        "actor": event.actor,
        "origin": event.origin,
        "action": event.action,
        "target": event.target,
        "outcome": event.outcome,
        "details": json.dumps(event.details),
        "previous": made.previous,
        "digest": made.digest,
    }


def _record(row: Row[Any]) -> AuditRecord:
    details = tuple((str(name), str(value)) for name, value in json.loads(row.details))
    event = AuditEvent(row.actor, row.origin, row.action, row.target, row.outcome, details)
    return AuditRecord(row.number, from_micros(row.time), event, row.previous, row.digest)
