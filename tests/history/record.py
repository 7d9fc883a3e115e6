"""What clients asked for and heard, and what was there in the end: what the checker judges by."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from netvps.errors import InternalError, NetvpsError, TimedOut, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["create", "stop", "start", "pause", "resume", "delete"]
Outcome = Literal["unknown", "done", "refused"]

# After these, it may have happened or not.
UNCLEAR = (Unavailable, TimedOut, InternalError)


@dataclass
class Operation:
    """One call of one client; `start` and `end` are places in the order of all that was noted."""

    kind: Kind
    session: str
    """NAME.OWNER"""
    request_id: str
    start: int
    end: int | None = None
    outcome: Outcome = "unknown"
    uid: str = ""
    """Of the session in the answer."""


class History:
    """Notes operations; of any number of threads."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._order = itertools.count()
        self._lock = threading.Lock()

    @contextmanager
    def operation(self, kind: Kind, session: str, request_id: str) -> Iterator[Operation]:
        """One call; whoever makes it sets `uid`. Errors pass, after it was noted what they tell."""
        with self._lock:
            operation = Operation(kind, session, request_id, next(self._order))
            self.operations.append(operation)
        try:
            yield operation
            operation.outcome = "done"
        except UNCLEAR:
            raise
        except NetvpsError:
            operation.outcome = "refused"
            raise
        finally:
            with self._lock:
                operation.end = next(self._order)


@dataclass(frozen=True)
class Found:
    """A session as the control plane has it at the end."""

    uid: str
    session: str
    desired: str
    state: str
    address: str = ""
    reason: str = ""


@dataclass(frozen=True)
class End:
    """What was there when all had come to rest."""

    sessions: tuple[Found, ...] = ()
    containers: tuple[str, ...] = ()
    """The session uid of each container on any machine, running or not."""
    snapshots: tuple[tuple[str, str], ...] = ()
    """Session uid and name of each image of a session; the name is '' for one that has none."""
    subnets: tuple[str, ...] = ()
    lost_files: tuple[str, ...] = field(default=())
    """Sessions in which a file that its owner wrote is gone."""
    running: tuple[str, ...] = ()
    """The session uid of each container that runs."""
    others: tuple[tuple[str, str], ...] = ()
    """Session uid and description of all else that is there of a session: volumes, folders, notes."""
