"""What a watcher of sessions is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from netvps.domain.session import Session


class EventType(StrEnum):
    """What an event means."""

    PUT = "PUT"
    DELETED = "DELETED"
    CAUGHT_UP = "CAUGHT_UP"
    PROGRESS = "PROGRESS"
    """What goes on, as its message; the session has not changed, and whoever resumes does not hear it again."""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One event; resume from its revision after a break. CAUGHT_UP has no session."""

    type: EventType
    session: Session | None
    revision: int
