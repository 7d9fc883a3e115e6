"""The audit log: who did what, from where, with which outcome; each record holds the digest of the one before.

The chain shows whether a record was changed, removed or reordered. It does not show whether the newest records were cut
off, nor a chain that was computed again: for that, keep the digest of the newest record elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

ALLOWED: Final = "OK"
"""The outcome of what was done; any other is the reason of a refusal."""
PRUNED: Final = "audit.prune"
"""The action of the record that replaces older ones."""
REFUSALS: Final = "audit.refusals"
"""The action of the record that says how many more refusals a source got within a minute."""
FIRST: Final = "0" * 64
"""What the first record of a chain has as the digest before it."""
TEXT_MAX: Final = 500
"""Maximum characters of each text; longer ones are cut."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What is to be recorded."""

    actor: str
    """Name of a user; '' if it is not known."""
    origin: str
    """Where it came from: "ADDRESS:PORT", or "local"."""
    action: str
    """A method ("SessionService/CreateSession"), or "ssh.login", "ssh.end", "ssh.refused"."""
    target: str = ""
    """Resource name; '' for none."""
    outcome: str = ALLOWED
    details: tuple[tuple[str, str], ...] = ()
    """Pairs of name and value."""

    def bounded(self) -> AuditEvent:
        """With texts of at most TEXT_MAX characters."""

        def cut(text: str) -> str:
            return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"

        details = tuple((cut(name), cut(value)) for name, value in self.details)
        return AuditEvent(
            cut(self.actor), cut(self.origin), cut(self.action), cut(self.target), cut(self.outcome), details
        )


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A link of the chain."""

    number: int
    """From 1, without gaps."""
    time: datetime
    event: AuditEvent
    previous: str
    """The digest of the record before."""
    digest: str
    """SHA-256 in hex of everything else in this record."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which records to read: at most `limit`, whose number is greater than `after` (less than `before`, newest first).

    '' and None match everything.
    """

    limit: int
    after: int = 0
    before: int = 0
    """0: the end."""
    newest_first: bool = False
    actor: str = ""
    target: str = ""
    action: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, found: AuditRecord) -> bool:
        """Whether a record is one of those."""
        event = found.event
        wanted = ((self.actor, event.actor), (self.target, event.target), (self.action, event.action))
        return (
            found.number > self.after
            and (not self.before or found.number < self.before)
            and all(not value or value == actual for value, actual in wanted)
            and (self.since is None or found.time >= self.since)
            and (self.until is None or found.time < self.until)
        )


def record(number: int, time: datetime, event: AuditEvent, previous: str) -> AuditRecord:
    """The record that follows the one with the digest `previous`."""
    return AuditRecord(number, time, event, previous, _digest(number, time, event, previous))


def _digest(number: int, time: datetime, event: AuditEvent, previous: str) -> str:
    micros = (time - _EPOCH) // timedelta(microseconds=1)
    parts = [number, micros, event.actor, event.origin, event.action, event.target, event.outcome]
    canonical = json.dumps([*parts, [list(pair) for pair in event.details], previous], separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def pruned(last: AuditRecord) -> AuditEvent:
    """The event that records that all records up to `last` were deleted."""
    details = (("up_to", str(last.number)), ("digest", last.digest), ("time", last.time.isoformat()))
    return AuditEvent("", "local", PRUNED, details=details)


@dataclass(slots=True)
class Verification:
    """Checks a chain record by record, oldest first."""

    faults: list[str] = field(default_factory=list)
    """A sentence for each fault; at most 20."""
    count: int = 0
    last: AuditRecord | None = None
    """The newest record so far: its digest stands for the whole chain."""
    _first: AuditRecord | None = None
    _prunings: set[tuple[str, str]] = field(default_factory=set)

    def add(self, found: AuditRecord) -> None:
        """Checks the next record."""
        before, self.last = self.last, found
        self._first = self._first or found
        self.count += 1
        if found.digest != _digest(found.number, found.time, found.event, found.previous):
            self._fault(f"record {found.number} was changed")
        if before is not None and found.number <= before.number:
            self._fault(f"record {found.number} comes after record {before.number}: the order was changed")
        elif before is not None and found.number != before.number + 1:
            self._fault(f"records {before.number + 1} to {found.number - 1} are missing")
        elif before is not None and found.previous != before.digest:
            self._fault(f"record {found.number} does not follow from record {before.number}: one of them was replaced")
        if found.event.action == PRUNED:
            details = dict(found.event.details)
            self._prunings.add((details.get("up_to", ""), details.get("digest", "")))

    def finish(self, newest: str = "") -> list[str]:
        """The faults of all records; `newest` is the digest that the newest one must have, if it is known."""
        first = self._first
        begins = first is None or (first.number, first.previous) == (1, FIRST)
        if first is not None and not begins and (str(first.number - 1), first.previous) not in self._prunings:
            self._fault(f"the records before {first.number} are missing, and no record says that they were deleted")
        if newest and (self.last is None or self.last.digest != newest):
            self._fault("the newest record is not the one with that digest: records were cut off at the end, or added")
        return self.faults

    def _fault(self, sentence: str) -> None:
        if len(self.faults) < _FAULTS:
            self.faults.append(sentence)


_FAULTS: Final = 20


def verify(records: Iterable[AuditRecord], newest: str = "") -> list[str]:
    """The faults of a chain, oldest record first; none if it is whole."""
    checking = Verification()
    for each in records:
        checking.add(each)
    return checking.finish(newest)
