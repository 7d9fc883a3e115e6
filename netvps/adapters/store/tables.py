"""The tables; and for each kind of resource its columns, natural order and unique constraints.

A resource is one row: its key, the columns to query by, its revision, and all of it as JSON in `data`. The columns
repeat parts of `data` for the sake of indexes and are only written together with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text, text

from netvps.domain.access.accounts import Credential, Request, SshKey, User
from netvps.domain.access.audit import FIRST
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

metadata = MetaData()

# Names compare by code points everywhere: SQLite's default, PostgreSQL's collation "C".
Name = Text().with_variant(Text(collation="C"), "postgresql")
Whole = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER can be SQLite's rowid

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", Whole, nullable=False),
    Column("log_bytes", BigInteger, nullable=False, server_default="0"),
    Column("audit_number", BigInteger, nullable=False, server_default="0"),
    Column("audit_digest", Text, nullable=False, server_default=FIRST),
)
"""One row: the global revision, the bytes ever logged, the end of the audit log. Every writer locks it first."""

audit = Table(
    "audit",
    metadata,
    Column("number", Whole, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False, comment="microseconds since 1970"),
    Column("actor", Name, nullable=False),
    Column("origin", Text, nullable=False),
    Column("action", Name, nullable=False),
    Column("target", Name, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Index("audit_by_actor", "actor", "number"),
    Index("audit_by_target", "target", "number"),
)
"""The audit log (domain.access.audit), to which rows are appended; old ones are deleted."""

key_use = Table(
    "key_use",
    metadata,
    Column("kid", Name, primary_key=True),
    Column("time", BigInteger, nullable=False, comment="microseconds since 1970"),
)
"""The last use of each API key that was used; not in the log, which it would fill."""

server = Table(
    "server",
    metadata,
    Column("uid", Name, primary_key=True),
    Column("address", Text, nullable=False),
    Column("expiry", BigInteger, nullable=False, comment="microseconds since 1970, of the database's clock"),
)
"""The running servers and the addresses at which they reach each other; not in the log, as each renews its lease."""

meta = Table("meta", metadata, Column("key", Name, primary_key=True), Column("value", Text, nullable=False))
"""The cluster's id, and the compaction horizon: the last revision that was removed from the log."""

log = Table(
    "log",
    metadata,
    Column("revision", Whole, primary_key=True, autoincrement=False),
    Column("kind", Name, nullable=False),
    Column("key", Name, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("time", BigInteger, nullable=False, comment="microseconds since 1970"),
    Column("data", Text, nullable=False),
    Column("end_bytes", BigInteger, nullable=False, server_default="0"),  # total bytes logged, including this entry
    Index("log_by_end_bytes", "end_bytes"),
)


@dataclass(frozen=True)
class Unique:
    """Columns whose values are unique within a kind; `taken` is the error message, formatted with their values."""

    columns: tuple[str, ...]
    taken: str
    optional: bool = False
    """The constraint has one column and ignores '', "no value"."""


@dataclass(frozen=True)
class Kind:
    """How a kind of resource is stored: text columns to query by, number columns to sum."""

    type: type[Any]
    table: Table
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    order: tuple[str, ...]
    unique: tuple[Unique, ...]
    listed: str = ""
    """The attribute with several values, by each of which the resource is found; '' for none."""
    values: Table | None = None
    """One row per such value: the value, then the columns of the order."""

    def position(self, after: str) -> tuple[str, ...]:
        """Splits a position (services.ports.Reader) into values of the order's columns; '' sorts first."""
        parts = after.split(".", len(self.order) - 1)
        return tuple(parts + [""] * (len(self.order) - len(parts)))


def _kind(
    kind: type[Any],
    columns: tuple[str, ...] = (),
    *,
    numbers: tuple[str, ...] = (),
    order: tuple[str, ...] = ("key",),
    unique: tuple[Unique, ...] = (),
    indexed: tuple[tuple[str, ...], ...] = (),
    listed: str = "",
) -> Kind:
    name = kind.kind
    table = Table(
        name,
        metadata,
        Column("key", Name, primary_key=True),
        *(Column(column, Name, nullable=False, server_default=_later(column)) for column in columns),
        *(Column(column, Text, nullable=False, server_default="") for column in (listed,) if column),
        *(Column(column, BigInteger, nullable=False, server_default="0") for column in numbers),  # added later
        Column("revision", Whole, nullable=False),
        Column("data", Text, nullable=False),
        *(_unique_index(name, u) for u in unique),
        *(Index(f"{name}_by_{'_'.join(columns)}", *columns) for columns in indexed),
    )
    return Kind(kind, table, columns, numbers, order, unique, listed, _values(name, listed, order) if listed else None)


def _values(name: str, listed: str, order: tuple[str, ...]) -> Table:
    """Builds the table of an attribute's values; the kind's table also has them as one text, to detect changes."""
    return Table(
        f"{name}_{listed}",
        metadata,
        Column("value", Name, primary_key=True),
        *(Column(column, Name, primary_key=True) for column in order),
        Column("key", Name, nullable=False),
        Index(f"{name}_{listed}_by_key", "key"),
    )


def _unique_index(table: str, unique: Unique) -> Index:
    name = f"{table}_by_{'_'.join(unique.columns)}"
    if not unique.optional:
        return Index(name, *unique.columns, unique=True)
    given = text(f"{unique.columns[0]} != ''")
    return Index(name, *unique.columns, unique=True, sqlite_where=given, postgresql_where=given)


def _later(column: str) -> str | None:
    """Returns the default of a column added after the first schema, for rows that are older."""
    return "" if column in _ADDED_LATER else None


_ADDED_LATER = frozenset(
    {"awaits", "gpu_holder", "lacks", "moving", "overlay_address", "sleep_rule", "used_by", "used_for"}
)
_KINDS = (
    _kind(
        Session,
        (
            *("name", "owner", "runner", "state", "desired", "overlay_address", "awaits", "moving", "gpu_holder"),
            "sleep_rule",
        ),
        numbers=("cpu_claim", "memory_claim", "disk_claim"),
        order=("name", "owner"),
        unique=(
            Unique(
                ("owner", "name"),
                "session {name} of user {owner} exists already; choose another name, or remove that session first",
            ),
            Unique(
                ("overlay_address",),
                "another session has the address {overlay_address}; choose another one",
                optional=True,
            ),
        ),
        indexed=(
            ("name", "owner"),
            ("runner",),
            ("state",),
            ("desired", "runner", "cpu_claim", "memory_claim"),  # covers scheduling, so that no row is read
            ("awaits",),
            ("moving",),
            ("runner", "disk_claim"),  # the same, for disk limits
            ("gpu_holder",),
            ("sleep_rule", "state"),
        ),
        listed="key_fingerprints",
    ),
    _kind(
        Snapshot,
        ("session", "owner", "id", "state", "lacks"),
        order=("session", "id"),
        unique=(Unique(("session", "id"), "this session has a snapshot {id} already; choose another name"),),
        indexed=(("owner",), ("state",), ("lacks",)),
    ),
    _kind(Eviction, ("session", "runner", "state"), indexed=(("session",), ("runner",), ("state",))),
    _kind(Copy, ("snapshot", "session", "runner"), indexed=(("snapshot",), ("session",), ("runner",))),
    _kind(
        Runner,
        ("name", "state"),
        order=("name",),
        unique=(Unique(("name",), "runner name {name} is taken; choose another name, or remove that runner first"),),
    ),
    _kind(
        Lease,
        ("runner",),
        unique=(Unique(("runner",), "runner {runner} has a subnet already; remove the runner to free it"),),
    ),
    _kind(User, ("role",)),
    _kind(
        SshKey,
        ("fingerprint", "owner"),
        order=("fingerprint",),
        unique=(
            # Does not reveal the owner: a foreign key looks like any other.
            Unique(
                ("fingerprint",),
                "key {fingerprint} is registered already, and a key belongs to one user; remove it there, or use "
                "another key",
            ),
        ),
        indexed=(("owner",),),
    ),
    _kind(
        Credential,
        ("purpose", "subject", "used_by", "used_for"),
        indexed=(("subject",), ("purpose", "used_by"), ("used_for",)),
    ),
    _kind(Invitation, ("issuer",), indexed=(("issuer",),)),
    _kind(ExternalAccount, ("user",), indexed=(("user",),)),
    _kind(Share, ("session", "user", "owner"), indexed=(("session",), ("user",), ("owner",))),
    _kind(StoredUrl, ("session", "owner"), indexed=(("session",), ("owner",))),
    _kind(SessionLease),
    _kind(AddressReservation, ("user", "runner"), indexed=(("user",), ("runner",))),
    _kind(
        Task,
        ("array", "owner", "runner", "state", "action", "gpu_holder"),
        numbers=("cpu_claim", "memory_claim"),
        indexed=(
            ("array",),
            ("owner", "state"),
            ("runner", "action"),
            ("state", "runner", "cpu_claim", "memory_claim"),
            ("action",),
            ("gpu_holder",),
        ),
    ),
    _kind(Request),
    _kind(DefaultImage),
    _kind(RegistryLogin),
)
KINDS = {kind.type.kind: kind for kind in _KINDS}
