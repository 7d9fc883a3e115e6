"""The end of a session's placement on a runner that may still have its container and files.

    FENCED → RELEASED → (gone)

A fenced runner stops the container and never starts it again, as its assignment has a newer epoch; it keeps the files.
Once all of them are verified elsewhere it is released, and erases them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import SessionSpec


class EvictionState(StrEnum):
    """What the runner is to do with the session."""

    FENCED = "FENCED"
    RELEASED = "RELEASED"


@dataclass(frozen=True, slots=True)
class Eviction:
    """A session that left a runner, as stored; complete in itself, as the session may be deleted meanwhile."""

    kind: ClassVar[str] = "eviction"

    session: str
    """Uid."""
    runner: str
    """Uid."""
    runner_name: str
    session_name: str
    owner: str
    epoch: int
    """Of the placement that replaced this one."""
    spec: SessionSpec
    create_time: datetime
    state: EvictionState = EvictionState.FENCED
    complete: bool = True
    """The session left with everything that it had here; else its runner was unavailable, and may have newer files."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return f"{self.session}.{self.runner}"


def eviction_assignment(eviction: Eviction) -> Assignment:
    """What the runner that the session left is to do."""
    released = eviction.state is EvictionState.RELEASED
    return Assignment(
        session_uid=eviction.session,
        session_id=eviction.session_name,
        owner_id=eviction.owner,
        epoch=eviction.epoch,
        generation=2 if released else 1,
        desired=DesiredState.DELETED if released else DesiredState.STOPPED,
        spec=eviction.spec,
        snapshot=None,
        revision=eviction.revision,
    )
