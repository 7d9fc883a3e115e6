"""A move of a session to another runner.

    WAITING → STOPPING → COPYING → ARRIVING → DONE
    WAITING, STOPPING or COPYING → FAILED: the session stays where it is, and runs again if it ran

The session is stopped, its files become a snapshot, and the new runner gets a copy of that and of all other snapshots.
Only when their receipts are recorded, one transaction places the session there, in a new epoch, and evicts it from its
old runner. A session whose runner is gone goes directly to ARRIVING, on a runner that holds a snapshot of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner


class MoveStage(StrEnum):
    """How far a move is; the values are those of the API."""

    WAITING = "WAITING"
    STOPPING = "STOPPING"
    COPYING = "COPYING"
    ARRIVING = "ARRIVING"
    """The new runner makes the session from the snapshot, at its next start."""
    DONE = "DONE"
    FAILED = "FAILED"


OPEN: Final = frozenset({MoveStage.WAITING, MoveStage.STOPPING, MoveStage.COPYING})


@dataclass(frozen=True, slots=True)
class Move:
    """The latest move of a session."""

    uid: str
    by: str
    """The user who requested it."""
    origin: str
    """Uid of the runner that it leaves."""
    origin_name: str
    create_time: datetime
    stage: MoveStage = MoveStage.WAITING
    drain: bool = False
    """Its runner is drained, so it goes wherever there is room."""
    target: str = ""
    """Uid of the runner that it goes to; '' while none is chosen."""
    target_name: str = ""
    fixed: bool = False
    """The target was named in the request."""
    resume: bool = False
    """It ran, and is to run there."""
    stopped: bool = False
    """Its stop was requested for the move."""
    snapshot: str = ""
    """Uid of the snapshot that it is made from there."""
    generation: int = 0
    """The session's when that was ordered: with another one it may have run since, and a new snapshot is taken."""
    base: str = ""
    """Uid of the snapshot that it was made from on the runner that it leaves, or is to be; '' if there is none."""
    awaited: bool = False
    """It has not run there yet: all that it has are the files of `base`."""
    message: str = ""
    """What it waits for, why it failed, or why the session's address changed, for people."""

    @property
    def is_open(self) -> bool:
        """Whether the session is on its old runner, and on its way."""
        return self.stage in OPEN

    def to(self, runner: Runner) -> Move:
        """The move with a target."""
        return replace(self, target=runner.uid, target_name=runner.name)

    def saying(self, message: str) -> Move:
        """The move with a message; the same object if it has that."""
        return self if self.message == message else replace(self, message=message)


@dataclass(frozen=True, slots=True)
class MoveView:
    """The latest move of a session, as people see it: with names."""

    session: str
    """NAME.OWNER"""
    uid: str
    stage: MoveStage
    origin: str
    target: str
    """NAME of a runner, or ''."""
    message: str
    create_time: datetime
