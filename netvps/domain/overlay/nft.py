"""Rules of nftables as values, and the one transaction that leads from some of them to others (nft(8)).

A session that comes is one element in a few sets. Where nobody knows what there is, all of it is put over that. Either
way it is one transaction, and a packet meets the old rules or the new ones; but with the old rules it may meet the new
elements of their sets. So a set that stays is never removed and made anew: packets on their way would find it empty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

_MARKS = 1 << 14


@dataclass(frozen=True, slots=True)
class Set:
    """A named set, or a map from keys to verdicts."""

    type: str
    """As nft writes it: "ether_addr . ipv4_addr", "ipv4_addr : verdict"."""
    elements: frozenset[str] = frozenset()
    """As nft writes them: "10.128.0.2 : jump owner-ann"."""
    interval: bool = False
    """Elements may be prefixes."""

    @property
    def declaration(self) -> str:
        """All but the elements."""
        return f"{{ type {self.type};{' flags interval;' if self.interval else ''} }}"

    @property
    def kind(self) -> str:
        """What nft calls it."""
        return "map" if ":" in self.type else "set"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; the ones with a hook see packets by themselves."""

    rules: tuple[str, ...]
    hook: str = ""
    """As nft writes it: "type filter hook forward priority 0"."""

    @property
    def declaration(self) -> str:
        """All but the rules. Packets that no rule decides on pass: tables of others have their say, too."""
        return f" {{ {self.hook}; policy accept; }}" if self.hook else ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its sets and chains by name."""

    sets: Mapping[str, Set] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """What a table has, whoever made it: its chains, and its sets with what nft calls them, by name."""

    sets: Mapping[str, str] = field(default_factory=dict)
    chains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Elements:
    """What goes from a set, and what comes to it; never both at once for one key and value."""

    table: str
    """With its family: "inet netvps"."""
    name: str
    of: Set
    gone: frozenset[str] = frozenset()
    come: frozenset[str] = frozenset()

    def commands(self) -> Iterator[str]:
        """For nft. First those that go: another of the same key may come."""
        for verb, elements in (("delete", self.gone), ("add", self.come)):
            if elements:
                yield f"{verb} element {self.table} {self.name} {{ {', '.join(sorted(elements))} }}"


@dataclass(frozen=True, slots=True)
class Edit:
    """How to get from one ruleset to another, in one transaction."""

    text: str = ""
    """Input of `nft -f -`; '' if there is nothing to do."""
    elements: tuple[Elements, ...] | None = ()
    """The same, where it is about elements of sets alone; else None."""

    def __add__(self, later: Edit) -> Edit:
        """Both, one after the other."""
        elements = None if self.elements is None or later.elements is None else (*self.elements, *later.elements)
        return Edit(self.text + later.text, elements)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Tables by family and name: "inet netvps"."""

    tables: Mapping[str, Table]

    @property
    def text(self) -> str:
        """Input of `nft -f -` that puts these tables in place of what has their names, whatever that is."""
        lines = [line for name in self.tables for line in (f"add table {name}", f"delete table {name}")]
        return _joined([*lines, *_commands(Ruleset({}), self)])

    def over(self, found: Mapping[str, Found], *, emptied: bool) -> str:
        """Input of `nft -f -` that puts these tables over what was found of them, by name of the table.

        Sets that are not `emptied` keep what they have besides. nft refuses all of it where something has the name of
        what it cannot be made of, or where what is kept stands on what is to go.
        """
        lines: list[str] = []
        for name, table in self.tables.items():
            there = found.get(name, Found())
            lines += [f"add table {name}", f"flush table {name}"]  # of its rules
            if emptied:
                lines += [f"flush {kind} {name} {kept}" for kept, kind in there.sets.items()]
            lines += [f"delete chain {name} {chain}" for chain in sorted(there.chains - table.chains.keys())]
            lines += [f"delete {kind} {name} {kept}" for kept, kind in there.sets.items() if kept not in table.sets]
        return _joined([*lines, *_commands(Ruleset({}), self)])

    def onto(self, found: Mapping[str, Found]) -> str:
        """Input of `nft -f -` that adds these tables to what was found of them: whatever else is there stays.

        nft refuses all of it where something has the name, or the key, of what is another thing here.
        """
        flushed = (
            f"flush chain {name} {chain}"  # or its rules would be there twice
            for name, table in self.tables.items()
            for chain in sorted(table.chains.keys() & found.get(name, Found()).chains)
        )
        return _joined([*flushed, *_commands(Ruleset({}), self)])

    def changes_from(self, old: Ruleset) -> Edit:
        """What makes this of `old`; both have the same tables. It is refused, as a whole, if not `old` is there."""
        pairs = [(name, old.tables[name], table) for name, table in self.tables.items()]
        if any(_redeclared(before, table) for _, before, table in pairs):
            return Edit(self.text, None)
        alike = all(before.sets.keys() == new.sets.keys() and before.chains == new.chains for _, before, new in pairs)
        elements = tuple(each for pair in pairs for each in _filled(*pair)) if alike else None
        return Edit(_joined(_commands(old, self)), elements)


@lru_cache(_MARKS)
def mark(rule: str) -> str:
    """A comment that a rule is known by: nft and kernels each write it in their own way, and others replace it."""
    return hashlib.blake2b(rule.encode(), digest_size=4).hexdigest()


def _joined(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _redeclared(old: Table, new: Table) -> bool:
    """Whether something has the name of what it cannot be made of."""
    return any(
        old.sets[name].declaration != new.sets[name].declaration for name in old.sets.keys() & new.sets.keys()
    ) or any(old.chains[name].hook != new.chains[name].hook for name in old.chains.keys() & new.chains.keys())


def _commands(old: Ruleset, new: Ruleset) -> Iterator[str]:
    """What is pointed to comes before what points there, and goes after it."""
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
