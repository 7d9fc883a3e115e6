"""Events for watchers of sessions and snapshots."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netvps.domain.session.session import Session
from netvps.domain.snapshot.snapshot import Snapshot


class EventType(StrEnum):
    """The type of an event."""

    PUT = "PUT"
    DELETED = "DELETED"
    CAUGHT_UP = "CAUGHT_UP"
    PROGRESS = "PROGRESS"
    """Progress as a message. The session has not changed, and a resumed watch does not repeat the event."""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One event. A watcher resumes from its revision. CAUGHT_UP has no session."""

    type: EventType
    session: Session | None
    revision: int


@dataclass(frozen=True, slots=True)
class SnapshotEvent:
    """One event about a snapshot; never PROGRESS. A watcher resumes from its revision. CAUGHT_UP has no snapshot."""

    type: EventType
    snapshot: Snapshot | None
    revision: int
