"""A store in memory that keeps all promises of services.ports.Store, snapshots and unique columns included."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from netvps.domain.access.accounts import Credential, Request, SshKey, User
from netvps.domain.access.audit import FIRST, pruned, record
from netvps.domain.access.invitations import Invitation
from netvps.domain.access.oidc import ExternalAccount
from netvps.domain.access.sharing import Share
from netvps.domain.http.stored import StoredUrl
from netvps.domain.image.image import DefaultImage
from netvps.domain.image.login import RegistryLogin
from netvps.domain.moves.eviction import Eviction
from netvps.domain.runner.runner import Lease, Runner
from netvps.domain.scheduling.address import AddressReservation
from netvps.domain.scheduling.lease import SessionLease
from netvps.domain.session.session import Session
from netvps.domain.snapshot.copies import Copy
from netvps.domain.snapshot.snapshot import Snapshot
from netvps.domain.task.task import Task
from netvps.errors import AlreadyExists, TooOld
from netvps.faults import fault_point
from netvps.services.auditing import unrecorded_call
from netvps.services.ports import Change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping
    from datetime import datetime

    from netvps.domain.access.audit import AuditEvent, AuditQuery, AuditRecord
    from netvps.domain.filter.kinds import Filter
    from netvps.services.ports import Clock, R, Resource, Wanted

Rows = dict[type[Any], dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """The columns that a kind is found by, its natural order, one with several values, and what no two of it share."""

    columns: tuple[str, ...] = ()
    order: tuple[str, ...] = ("key",)
    listed: str = ""
    unique: tuple[tuple[str, ...], ...] = ()


KINDS: dict[type[Any], Kind] = {
    Session: Kind(
        (
            *("name", "owner", "runner", "state", "desired", "overlay_address", "awaits", "moving", "gpu_holder"),
            "sleep_rule",
        ),
        ("name", "owner"),
        "key_fingerprints",
        (("owner", "name"), ("overlay_address",)),
    ),
    Eviction: Kind(("session", "runner", "state")),
    Copy: Kind(("snapshot", "session", "runner")),
    Snapshot: Kind(("session", "owner", "id", "state", "lacks"), ("session", "id"), unique=(("session", "id"),)),
    Runner: Kind(("name", "state"), ("name",), unique=(("name",),)),
    Lease: Kind(("runner",), unique=(("runner",),)),
    User: Kind(("role",)),
    SshKey: Kind(("fingerprint", "owner"), ("fingerprint",), unique=(("fingerprint",),)),
    Credential: Kind(("purpose", "subject", "used_by", "used_for")),
    Invitation: Kind(("issuer",)),
    ExternalAccount: Kind(("user",)),
    Share: Kind(("session", "user", "owner"), ("session", "user")),
    StoredUrl: Kind(("session", "owner")),
    SessionLease: Kind(),
    AddressReservation: Kind(("user", "runner")),
    Task: Kind(("array", "owner", "runner", "state", "action", "gpu_holder")),
    Request: Kind(),
    DefaultImage: Kind(),
    RegistryLogin: Kind(),
}


class MemoryReader:
    """What was committed when it was made: nothing in `rows` changes after that."""

    def __init__(self, rows: Rows, revision: int, clock: Clock) -> None:
        self._rows = rows
        self._revision = revision
        self._now = clock

    @property
    def revision(self) -> int:
        return self._revision

    async def now(self) -> datetime:
        return self._now()

    async def get(self, kind: type[R], key: str) -> R | None:
        await asyncio.sleep(0)
        return cast("R | None", self._rows[kind].get(key))

    async def find(self, kind: type[R], **where: Wanted) -> list[R]:
        await asyncio.sleep(0)
        return sorted(self._matching(kind, where), key=lambda row: _place(row, KINDS[kind].order))

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
        order = KINDS[kind].order
        start = tuple(after.split(".", len(order) - 1))
        named = {row.key: row for row in await self.find(kind, **where)}
        named |= {key: row for key, row in self._rows[kind].items() if key in also}
        every = sorted(named.values(), key=lambda row: _place(row, order))
        if matching is None:
            return [row for row in every if _place(row, order) > start][:limit]
        ways = [descends for _, descends in matching.order.keys]
        begin = (*matching.order.after, *start)
        found = matching.sorted(row for row in every if matching.matches(row))
        return [
            row for row in found if not after or _follows((*matching.place(row), *_place(row, order)), begin, ways)
        ][:limit]

    async def tally(self, kind: type[Resource], by: str, *sums: str, **where: Wanted) -> dict[str, tuple[int, ...]]:
        await asyncio.sleep(0)
        found = self._matching(cast("type[Any]", kind), where)
        totals: dict[str, list[int]] = {getattr(row, by): [0] * (1 + len(sums)) for row in found}
        for row in found:
            for place, number in enumerate((1, *(getattr(row, name) for name in sums))):
                totals[getattr(row, by)][place] += number
        return {value: tuple(total) for value, total in totals.items()}

    def _matching(self, kind: type[R], where: dict[str, Wanted]) -> list[R]:
        unknown = where.keys() - {*KINDS[kind].columns, KINDS[kind].listed}
        assert not unknown, f"{kind.__name__} has no column {unknown}"
        return [row for row in self._rows[kind].values() if all(_has(getattr(row, c), v) for c, v in where.items())]


@dataclass
class MemoryTransaction(MemoryReader):
    """A copy that replaces what was committed, if the block ends well."""

    rows: Rows
    began: int
    actor: str
    clock: Clock
    log: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.rows, self.began, self.clock)

    async def put(self, resource: R) -> R:
        await asyncio.sleep(0)
        rows = self.rows[type(resource)]
        for columns in KINDS[type(resource)].unique:
            mine = _place(resource, columns)
            if any(mine) and any(_place(row, columns) == mine and row.key != resource.key for row in rows.values()):
                raise AlreadyExists(f"{resource.kind} {'.'.join(mine)} exists already")
        stored: R = replace(cast("Any", resource), revision=self._revision + 1)
        rows[stored.key] = stored
        self._append(stored, deleted=False)
        return stored

    async def delete(self, resource: Resource) -> None:
        await asyncio.sleep(0)
        gone = self.rows[type(resource)].pop(resource.key, None)
        if gone is not None:
            self._append(gone, deleted=True)

    def _append(self, resource: Resource, *, deleted: bool) -> None:
        self._revision += 1
        self.log.append(Change(self._revision, resource, deleted, self.actor, self.clock()))


class MemoryStore:
    """Rows, and the log of how they came about. `horizon` is the last revision that the log no longer has."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: Rows = {kind: {} for kind in KINDS}
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()
        self.log: list[Change] = []
        self.horizon = 0
        self.records: list[AuditRecord] = []
        self._uses: dict[str, datetime] = {}

    @property
    def revision(self) -> int:
        return self.log[-1].revision if self.log else 0

    @asynccontextmanager
    async def read(self) -> AsyncIterator[MemoryReader]:
        await asyncio.sleep(0)
        yield MemoryReader(self._rows, self.revision, self._clock)

    @asynccontextmanager
    async def write(self, actor: str, point: str = "") -> AsyncIterator[MemoryTransaction]:
        async with self._turn:
            copy = {kind: dict(rows) for kind, rows in self._rows.items()}
            transaction = MemoryTransaction(copy, self.revision, actor, self._clock)
            yield transaction
            if point:
                fault_point(f"{point}.before_commit")
            self._rows = copy
            self.log += transaction.log
            call = unrecorded_call() if transaction.log else None
            if call is not None:
                await self.audit([(self._clock(), call.event())])
                call.recorded = True
            self._news.set()
            self._news = asyncio.Event()
        if point:
            fault_point(f"{point}.after_commit")

    async def changes(self, after: int, limit: int) -> list[Change]:
        await asyncio.sleep(0)
        if not self.horizon <= after <= self.revision:
            raise TooOld(f"the log no longer has what came after revision {after}: list again, then watch")
        return [change for change in self.log if change.revision > after][:limit]

    async def audit(self, events: Iterable[tuple[datetime, AuditEvent]]) -> None:
        for time, event in events:
            before = self.records[-1] if self.records else None
            number, previous = (before.number + 1, before.digest) if before else (1, FIRST)
            self.records.append(record(number, time, event.bounded(), previous))
        await asyncio.sleep(0)

    async def note_key_uses(self, uses: Mapping[str, datetime]) -> None:
        await asyncio.sleep(0)
        later = {kid: time for kid, time in uses.items() if kid not in self._uses or self._uses[kid] < time}
        self._uses = {kid: time for kid, time in (self._uses | later).items() if kid in self._rows[Credential]}

    async def key_uses(self, kids: Collection[str]) -> dict[str, datetime]:
        await asyncio.sleep(0)
        return {kid: self._uses[kid] for kid in kids if kid in self._uses}

    async def audited(self, query: AuditQuery) -> list[AuditRecord]:
        await asyncio.sleep(0)
        found = [each for each in self.records if query.matches(each)]
        return (found[::-1] if query.newest_first else found)[: query.limit]

    async def prune_audit(self, before: datetime) -> int:
        old = [each for each in self.records[:-1] if each.time < before]
        if old:
            del self.records[: len(old)]
            await self.audit([(self._clock(), pruned(old[-1]))])
        return len(old)

    async def wait(self, after: int) -> None:
        while self.revision <= after:
            await self._news.wait()


def _has(found: str | tuple[str, ...], wanted: Wanted) -> bool:
    several = found if isinstance(found, tuple) else (found,)
    return not {wanted}.isdisjoint(several) if isinstance(wanted, str) else not set(wanted).isdisjoint(several)


def _follows(place: tuple[str, ...], begin: tuple[str, ...], ways: list[bool]) -> bool:
    """Whether a place comes after another one, where some of the first columns descend."""
    for mine, other, descends in zip(place, begin, ways, strict=False):
        if mine != other:
            return mine < other if descends else mine > other
    return place[len(ways) :] > begin[len(ways) :]


def _place(resource: object, columns: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(getattr(resource, column) for column in columns)
