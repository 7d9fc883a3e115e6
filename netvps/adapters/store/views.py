"""Implements services.ports.Reader and Transaction: a snapshot, and a transaction that writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import and_, delete, func, insert, or_, select, true, tuple_, update

from netvps.adapters.store.audit import AuditChain
from netvps.adapters.store.codec import decode, encode, from_micros, to_micros
from netvps.adapters.store.query import after as comes_after
from netvps.adapters.store.query import condition, keys_of, ordered
from netvps.adapters.store.tables import KINDS, Kind, audit, clock, log
from netvps.errors import AlreadyExists
from netvps.services.auditing import unrecorded_call

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from typing import Self

    from sqlalchemy import ColumnElement, Select, Table

    from netvps.adapters.store.connection import Connection
    from netvps.domain.filter.kinds import Filter
    from netvps.services.ports import R, Resource, Wanted


_REVISION: Final = select(clock.c.revision)
_LOCKED: Final = select(clock).with_for_update()


class SqlReader:
    """A consistent snapshot, for as long as its database transaction lasts."""

    def __init__(self, connection: Connection, revision: int) -> None:
        self._connection = connection
        self._revision = revision

    @classmethod
    async def begin(cls, connection: Connection) -> Self:
        """Takes the snapshot, with the transaction's first statement."""
        return cls(connection, (await connection.run(_REVISION)).scalar_one())

    @property
    def revision(self) -> int:
        """The global revision of this view, including its own changes."""
        return self._revision

    async def now(self) -> datetime:
        """Returns the database's time."""
        return from_micros(await self._connection.micros())

    async def get(self, kind: type[R], key: str) -> R | None:
        """Returns a resource by its primary key."""
        table = _kind(kind).table
        found = await self._decoded(kind, select(table.c.data).where(table.c.key == key))
        return found[0] if found else None

    async def find(self, kind: type[R], **where: Wanted) -> list[R]:
        """Returns all resources whose columns match `where`, in natural order."""
        return await self._decoded(kind, _ordered(_kind(kind), where))

    async def page(
        self,
        kind: type[R],
        after: str,
        limit: int,
        matching: Filter[R] | None = None,
        also: Collection[str] = (),
        /,
        **where: Wanted,
    ) -> list[R]:
        """Returns at most `limit` resources after a position, in natural order."""
        stored = _kind(kind)
        wanted = _or_keys(stored, where, also) if also else _ordered(stored, where)
        if matching is not None and matching.expression.of:
            wanted = wanted.where(condition(matching.expression, stored, matching.fields))
        if matching is not None and matching.order.keys:
            keys = keys_of(stored, matching.order)
            wanted = wanted.order_by(None).order_by(*ordered(keys))
            if after:
                wanted = wanted.where(comes_after(keys, (*matching.order.after, *stored.position(after))))
        else:
            columns = tuple_(*(stored.table.c[name] for name in stored.order))
            wanted = wanted.where(columns > tuple_(*stored.position(after)))
        return await self._decoded(kind, wanted.limit(limit))

    async def tally(self, kind: type[Resource], by: str, *sums: str, **where: Wanted) -> dict[str, tuple[int, ...]]:
        """Returns, for each value of a column, the number of resources and sums of number columns."""
        stored = _kind(kind)
        totals = [func.sum(stored.table.c[name]) for name in sums]
        statement = select(stored.table.c[by], func.count(), *totals).where(*_matching(stored, where))
        rows = await self._connection.run(statement.group_by(stored.table.c[by]))
        return {row[0]: tuple(map(int, row[1:])) for row in rows}  # PostgreSQL's sums are Decimals

    async def _decoded(self, kind: type[R], statement: Select[Any]) -> list[R]:
        return [decode(kind, data) for (data,) in await self._connection.run(statement)]


class SqlTransaction(SqlReader):
    """A transaction that writes. Only one exists at a time: it locks the clock's row."""

    def __init__(self, connection: Connection, revision: int, log_bytes: int, audit: AuditChain) -> None:
        super().__init__(connection, revision)
        self.audit = audit
        self._began, self._log_began = revision, log_bytes
        self._log_bytes = log_bytes
        self._actor = ""
        self._time = 0

    @classmethod
    async def begin(cls, connection: Connection) -> Self:
        """Locks the clock's row."""
        now = (await connection.run(_LOCKED)).one()
        return cls(connection, now.revision, now.log_bytes, AuditChain(now.audit_number, now.audit_digest))

    @property
    def appended(self) -> int:
        """Bytes logged by this transaction."""
        return self._log_bytes - self._log_began

    @property
    def log_bytes(self) -> int:
        """Bytes ever logged, including by this transaction."""
        return self._log_bytes

    def sign(self, actor: str, now: datetime) -> None:
        """Sets the actor and time that the log records for changes."""
        self._actor = actor
        self._time = to_micros(now)

    async def put(self, resource: R) -> R:
        """Inserts or replaces a resource; returns it with its new revision. Raises AlreadyExists if not unique."""
        kind = _kind(type(resource))
        await self._check_unique(kind, resource)
        self._revision += 1
        stored = cast("R", replace(cast("Any", resource), revision=self._revision))
        data = encode(stored)
        row = {column: getattr(stored, column) for column in (*kind.columns, *kind.numbers)}
        row |= {"key": stored.key, "revision": self._revision, "data": data}
        if kind.values is None:
            await self._write(kind, row)
        else:
            await self._write_listed(kind, kind.values, row, getattr(stored, kind.listed))
        await self._append(kind, stored.key, data, deleted=False)
        return stored

    async def delete(self, resource: Resource) -> None:
        """Deletes a resource and logs its last state; ignores one that does not exist."""
        kind = _kind(type(resource))
        this = kind.table.c.key == resource.key
        data = (await self._connection.run(select(kind.table.c.data).where(this))).scalar_one_or_none()
        if data is None:
            return
        self._revision += 1
        await self._connection.run(delete(kind.table).where(this))
        if kind.values is not None:
            await self._connection.run(delete(kind.values).where(kind.values.c.key == resource.key))
        await self._append(kind, resource.key, data, deleted=True)

    async def finish(self) -> None:
        """Records the call that asked for a change, updates the clock, and commits."""
        changed = self._revision != self._began
        call = unrecorded_call() if changed else None
        if call is not None:
            self.audit.append(from_micros(self._time), call.event())
        if changed or self.audit.appended:
            values = {"audit_number": self.audit.number, "audit_digest": self.audit.digest}
            values |= {"revision": self._revision, "log_bytes": self._log_bytes}
            await self._connection.run(update(clock).values(values))
        if self.audit.appended:
            await self._connection.run(insert(audit).values(self.audit.appended))
        await self._connection.commit()
        if call is not None:
            call.recorded = True

    async def _write(self, kind: Kind, row: dict[str, Any]) -> None:
        table = kind.table
        if not await self._connection.change(update(table).where(table.c.key == row["key"]).values(row)):
            await self._connection.run(insert(table).values(row))

    async def _write_listed(self, kind: Kind, values: Table, row: dict[str, Any], listed: tuple[str, ...]) -> None:
        """Most changes leave the listed values alone: those need no extra statement."""
        table, key = kind.table, row["key"]
        row |= {kind.listed: " ".join(listed)}
        same = [table.c[column] == row[column] for column in ("key", *kind.order, kind.listed)]
        if await self._connection.change(update(table).where(*same).values(row)):
            return
        if await self._connection.change(delete(table).where(table.c.key == key)):
            await self._connection.run(delete(values).where(values.c.key == key))
        await self._connection.run(insert(table).values(row))
        if listed:
            place = {column: row[column] for column in ("key", *kind.order)}
            await self._connection.run(insert(values).values([{"value": value} | place for value in listed]))

    async def _append(self, kind: Kind, key: str, data: str, *, deleted: bool) -> None:
        self._log_bytes += len(data.encode())
        row = {
            "revision": self._revision,
            "kind": kind.table.name,
            "key": key,
            "deleted": deleted,
            "actor": self._actor,
            "time": self._time,
            "data": data,
            "end_bytes": self._log_bytes,
        }
        await self._connection.run(insert(log).values(row))

    async def _check_unique(self, kind: Kind, resource: Resource) -> None:
        """Checks before the index would refuse, which would abort the transaction; no other writer can interfere."""
        table = kind.table
        for unique in kind.unique:
            if unique.optional and not getattr(resource, unique.columns[0]):
                continue
            taken = [table.c[column] == getattr(resource, column) for column in unique.columns]
            found = await self._connection.run(select(table.c.key).where(*taken, table.c.key != resource.key))
            if found.first() is not None:
                fields = {column: getattr(resource, column) for column in unique.columns}
                raise AlreadyExists(unique.taken.format_map(fields))


def _kind(kind: type[Any]) -> Kind:
    return KINDS[kind.kind]


def _ordered(kind: Kind, where: dict[str, Wanted]) -> Select[Any]:
    statement = select(kind.table.c.data).order_by(*(kind.table.c[name] for name in kind.order))
    if kind.values is None or kind.listed not in where:
        return statement.where(*_matching(kind, where))
    # The index of the values finds the rows, with the named columns of the order, independent of the number of rows.
    values = kind.values
    named = {"value": where[kind.listed]} | {name: where[name] for name in kind.order if name in where}
    rest = {name: value for name, value in where.items() if name != kind.listed}
    return (
        statement.join(values, values.c.key == kind.table.c.key)
        .where(*(_equals(values.c[name], value) for name, value in named.items()))
        .where(*_matching(kind, rest))
    )


def _or_keys(kind: Kind, where: dict[str, Wanted], also: Collection[str]) -> Select[Any]:
    either = or_(and_(true(), *_matching(kind, where)), kind.table.c.key.in_(also))
    return select(kind.table.c.data).order_by(*(kind.table.c[name] for name in kind.order)).where(either)


def _matching(kind: Kind, where: dict[str, Wanted]) -> list[ColumnElement[bool]]:
    if unknown := where.keys() - set(kind.columns):
        has = ", ".join(kind.columns) or "none"
        raise ValueError(f"{kind.table.name} has no column {', '.join(sorted(unknown))}: it has {has}")
    return [_equals(kind.table.c[name], value) for name, value in where.items()]


def _equals(column: ColumnElement[str], value: Wanted) -> ColumnElement[bool]:
    return column == value if isinstance(value, str) else column.in_(value)
