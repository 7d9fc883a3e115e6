"""nftables rulesets as values, and the transaction from one ruleset to another (nft(8)).

A new session is one element in a few sets. If the current content of a table is unknown, it is replaced completely.
Both are one transaction, so a packet meets either the old rules or the new ones. But set elements are not versioned:
a packet that is still processed by the old rules may meet the new elements of their sets. So a set that stays is never
deleted and created again, because packets in flight would find it empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

_MARKS = 1 << 14


@dataclass(frozen=True, slots=True)
class Set:
    """A named set, or a verdict map."""

    type: str
    """In nft syntax: "ether_addr . ipv4_addr", "ipv4_addr : verdict"."""
    elements: frozenset[str] = frozenset()
    """In nft syntax: "10.128.0.2 : jump owner-ann"."""
    interval: bool = False
    """Whether elements may be prefixes."""

    @property
    def declaration(self) -> str:
        """The declaration without elements."""
        return f"{{ type {self.type};{' flags interval;' if self.interval else ''} }}"

    @property
    def kind(self) -> str:
        """The nft keyword."""
        return "map" if ":" in self.type else "set"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; one with a hook is a base chain."""

    rules: tuple[str, ...]
    hook: str = ""
    """In nft syntax: "type filter hook forward priority 0"."""

    @property
    def declaration(self) -> str:
        """The declaration without rules.

        The policy is accept, so that packets without a match continue to other tables.
        """
        return f" {{ {self.hook}; policy accept; }}" if self.hook else ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its sets and chains by name."""

    sets: Mapping[str, Set] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The inspected content of a table: its chains, and its sets with their nft keywords, by name."""

    sets: Mapping[str, str] = field(default_factory=dict)
    chains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements to delete from and to add to a set; never both for the same key and value."""

    table: str
    """Family and name: "inet netvps"."""
    name: str
    of: Set
    gone: frozenset[str] = frozenset()
    come: frozenset[str] = frozenset()

    def commands(self) -> Iterator[str]:
        """The nft commands. Deletions come first, because a new element may have the same key."""
        for verb, elements in (("delete", self.gone), ("add", self.come)):
            if elements:
                yield f"{verb} element {self.table} {self.name} {{ {', '.join(sorted(elements))} }}"


@dataclass(frozen=True, slots=True)
class Edit:
    """The change from one ruleset to another, as one transaction."""

    text: str = ""
    """Input of `nft -f -`; '' if nothing changes."""
    elements: tuple[Elements, ...] | None = ()
    """The same change as set elements, if it consists of those only; else None."""

    def __add__(self, later: Edit) -> Edit:
        """Both edits in order."""
        elements = None if self.elements is None or later.elements is None else (*self.elements, *later.elements)
        return Edit(self.text + later.text, elements)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Tables by family and name: "inet netvps"."""

    tables: Mapping[str, Table]

    @property
    def text(self) -> str:
        """Input of `nft -f -` that replaces any tables of these names."""
        lines = [line for name in self.tables for line in (f"add table {name}", f"delete table {name}")]
        return _joined([*lines, *_commands(Ruleset({}), self)])

    def over(self, found: Mapping[str, Found], *, emptied: bool) -> str:
        """Input of `nft -f -` that applies these tables over the inspected ones, by name of the table.

        Sets keep their other elements unless `emptied`. nft refuses the transaction if an object exists with the same
        name and an incompatible type, or if a kept object refers to one that is to be deleted.
        """
        lines: list[str] = []
        for name, table in self.tables.items():
            there = found.get(name, Found())
            lines += [f"add table {name}", f"flush table {name}"]  # flushes the rules only
            if emptied:
                lines += [f"flush {kind} {name} {kept}" for kept, kind in there.sets.items()]
            lines += [f"delete chain {name} {chain}" for chain in sorted(there.chains - table.chains.keys())]
            lines += [f"delete {kind} {name} {kept}" for kept, kind in there.sets.items() if kept not in table.sets]
        return _joined([*lines, *_commands(Ruleset({}), self)])

    def onto(self, found: Mapping[str, Found]) -> str:
        """Input of `nft -f -` that adds these tables to the inspected ones and keeps everything else.

        nft refuses the transaction if an object has the same name, or an element the same key, but differs.
        """
        flushed = (
            f"flush chain {name} {chain}"  # otherwise its rules would be duplicated
            for name, table in self.tables.items()
            for chain in sorted(table.chains.keys() & found.get(name, Found()).chains)
        )
        return _joined([*flushed, *_commands(Ruleset({}), self)])

    def changes_from(self, old: Ruleset) -> Edit:
        """The edit from `old`, which has the same tables. nft refuses all of it if the actual rules are not `old`."""
        pairs = [(name, old.tables[name], table) for name, table in self.tables.items()]
        if any(_redeclared(before, table) for _, before, table in pairs):
            return Edit(self.text, None)
        alike = all(before.sets.keys() == new.sets.keys() and before.chains == new.chains for _, before, new in pairs)
        elements = tuple(each for pair in pairs for each in _filled(*pair)) if alike else None
        return Edit(_joined(_commands(old, self)), elements)


@lru_cache(_MARKS)
def mark(rule: str) -> str:
    """A comment that identifies a rule. Its text cannot: nft versions and kernels print it differently."""
    return hashlib.blake2b(rule.encode(), digest_size=4).hexdigest()


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _redeclared(old: Table, new: Table) -> bool:
    """Whether an object of the same name has an incompatible declaration."""
    return any(
        old.sets[name].declaration != new.sets[name].declaration for name in old.sets.keys() & new.sets.keys()
    ) or any(old.chains[name].hook != new.chains[name].hook for name in old.chains.keys() & new.chains.keys())


def _commands(old: Ruleset, new: Ruleset) -> Iterator[str]:
    """Creates referenced objects before the references, and deletes them after the references."""
    for name, table in new.tables.items():
        if name not in old.tables:
            yield f"add table {name}"
        before = old.tables.get(name, Table())
        yield from _declared(name, before, table)
        yield from _ruled(name, before, table)
        yield from (line for elements in _filled(name, before, table) for line in elements.commands())
        yield from _removed(name, before, table)


def _declared(table: str, old: Table, new: Table) -> Iterator[str]:
    for name, kept in new.sets.items():
        if name not in old.sets:
            yield f"add {kept.kind} {table} {name} {kept.declaration}"
    for name, chain in new.chains.items():
        if name not in old.chains:
            yield f"add chain {table} {name}{chain.declaration}"


def _ruled(table: str, old: Table, new: Table) -> Iterator[str]:
    for name in old.chains:
        if name not in new.chains or old.chains[name].rules != new.chains[name].rules:
            yield f"flush chain {table} {name}"
    for name, chain in new.chains.items():
        if name not in old.chains or old.chains[name].rules != chain.rules:
            yield from (f'add rule {table} {name} {rule} comment "{mark(rule)}"' for rule in chain.rules)


def _filled(table: str, old: Table, new: Table) -> Iterator[Elements]:
    for name, kept in new.sets.items():
        before = old.sets[name].elements if name in old.sets else frozenset()
        if before != kept.elements:
            yield Elements(table, name, kept, before - kept.elements, kept.elements - before)


def _removed(table: str, old: Table, new: Table) -> Iterator[str]:
    yield from (f"delete chain {table} {name}" for name in old.chains if name not in new.chains)
    yield from (f"delete {kept.kind} {table} {name}" for name, kept in old.sets.items() if name not in new.sets)
