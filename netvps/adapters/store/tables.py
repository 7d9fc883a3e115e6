"""The tables, and per kind of resource: its columns, its natural order, and what must be unique.

A resource is one row: its key, the columns it is found by, its revision, and all of it as JSON in `data`. The columns
repeat parts of `data` for the indexes' sake, and are only ever written together with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, Table, Text, text

from netvps.domain.access import Credential, Request, SshKey, User
from netvps.domain.runner import Lease, Runner
from netvps.domain.session import Session

metadata = MetaData()

# Names compare by code points everywhere: SQLite does it by itself, PostgreSQL in the collation "C".
Name = Text().with_variant(Text(collation="C"), "postgresql")
Whole = BigInteger().with_variant(Integer(), "sqlite")  # only INTEGER can be SQLite's row id

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", Whole, nullable=False),
    Column("log_bytes", BigInteger, nullable=False, server_default="0"),
)
"""One row: the global revision, and how many bytes were ever logged. Whoever writes locks it first."""

meta = Table("meta", metadata, Column("key", Name, primary_key=True), Column("value", Text, nullable=False))
"""The cluster's id, and the compaction horizon: the last revision that the log no longer has."""

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
    Column("end_bytes", BigInteger, nullable=False, server_default="0"),  # ever logged, this entry included
    Index("log_by_end_bytes", "end_bytes"),
)


@dataclass(frozen=True)
class Unique:
    """Columns that no two resources of a kind share; `taken` is the sentence for who tries, made with their fields."""

    columns: tuple[str, ...]
    taken: str
    optional: bool = False
    """Any number of resources have no value in the one column, which is ''."""


@dataclass(frozen=True)
class Kind:
    """How one kind of resource is stored: the columns it is found by are text, those that are summed are numbers."""

    type: type[Any]
    table: Table
    columns: tuple[str, ...]
    numbers: tuple[str, ...]
    order: tuple[str, ...]
    unique: tuple[Unique, ...]
    listed: str = ""
    """The one attribute that has several values, each of which finds the resource; '' for none."""
    values: Table | None = None
    """A row for each of these values, which begins with the value and the columns of the order."""

    def position(self, after: str) -> tuple[str, ...]:
        """The values of the order's columns at a position (services.ports.Reader); '' is before all."""
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
        *(Column(column, BigInteger, nullable=False, server_default="0") for column in numbers),  # it came later
        Column("revision", Whole, nullable=False),
        Column("data", Text, nullable=False),
        *(_unique_index(name, u) for u in unique),
        *(Index(f"{name}_by_{'_'.join(columns)}", *columns) for columns in indexed),
    )
    return Kind(kind, table, columns, numbers, order, unique, listed, _values(name, listed, order) if listed else None)


def _values(name: str, listed: str, order: tuple[str, ...]) -> Table:
    """The values of the attribute that has several; the table of the kind has them in one text, to be compared."""
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
    """The default of a column that the first schema did not have: rows from before have it."""
    return "" if column in {"overlay_address", "used_by", "used_for"} else None


_KINDS = (
    _kind(
        Session,
        ("name", "owner", "runner", "state", "desired", "overlay_address"),
        numbers=("cpu_claim", "memory_claim"),
        order=("name", "owner"),
        unique=(
            Unique(
                ("owner", "name"),
                "session {name} of user {owner} exists already: choose another name, or remove that one first",
            ),
            Unique(("overlay_address",), "address {overlay_address} is another session's", optional=True),
        ),
        indexed=(
            ("name", "owner"),
            ("runner",),
            ("state",),
            ("desired", "runner", "cpu_claim", "memory_claim"),  # all that placing needs, so that no row is read
        ),
        listed="key_fingerprints",
    ),
    _kind(
        Runner,
        ("name", "state"),
        order=("name",),
        unique=(
            Unique(("name",), "runner name {name} is taken: give this one another name, or remove that one first"),
        ),
    ),
    _kind(
        Lease,
        ("runner",),
        unique=(Unique(("runner",), "runner {runner} has a subnet already: remove the runner to free that first"),),
    ),
    _kind(User, ("role",)),
    _kind(
        SshKey,
        ("fingerprint", "owner"),
        order=("fingerprint",),
        unique=(
            # Whose it is stays unsaid: a foreign key looks like any other.
            Unique(
                ("fingerprint",),
                "key {fingerprint} is registered already, and a key is one user's: remove it there, or use another key",
            ),
        ),
        indexed=(("owner",),),
    ),
    _kind(
        Credential,
        ("purpose", "subject", "used_by", "used_for"),
        indexed=(("subject",), ("purpose", "used_by"), ("used_for",)),
    ),
    _kind(Request),
)
KINDS = {kind.type.kind: kind for kind in _KINDS}
