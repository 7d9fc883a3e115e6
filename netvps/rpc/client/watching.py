"""A watch that goes on over breaks, and a wait for a state: decided here without waiting, for both clients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import Session, SessionState
from netvps.errors import NetvpsError, NotFound, TimedOut, TooOld, Unavailable, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ATTEMPTS: Final = 8
"""Attempts in a row, about half a minute, after which a watch gives up."""
_BACK_OFF: Final = 0.2
_BACK_OFF_MAX: Final = 10.0


@dataclass(frozen=True, slots=True)
class Reset:
    """The list comes again: changes were missed. What is gone since then is DELETED before the list ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The connection broke. The watch resumes by itself; until the next event, what is known gets older."""

    error: NetvpsError


WatchEvent = SessionEvent | Reset | Interrupted


class Watching:
    """Where a watch is, and which sessions it knows."""

    def __init__(self, revision: int, known: Iterable[Session], attempts: int | None) -> None:
        self.revision = revision
        """To resume from; 0 until a list is complete, for its sessions come by name and not by revision."""
        self._known = {session.uid: session for session in known}
        self._listed: set[str] | None = None
        self._attempts = attempts
        self._failures = 0

    def begin(self) -> int:
        """A stream begins: the revision to resume from, or 0 for the list."""
        self._listed = None if self.revision else set()
        return self.revision

    def apply(self, event: SessionEvent) -> Iterator[SessionEvent]:
        """The event, and before the end of a list those sessions that are gone since they were known."""
        session = event.session
        if session is not None:
            self._known[session.uid] = session
            if event.type is EventType.DELETED:
                del self._known[session.uid]
        if self._listed is None:
            self.revision = max(self.revision, event.revision)
        elif session is not None:
            self._listed.add(session.uid)
        elif event.type is EventType.CAUGHT_UP:
            yield from self._gone(self._listed, event.revision)
            self.revision, self._listed = event.revision, None
        if self.revision:
            self._failures = 0
        yield event

    def broke(self, error: TooOld | Unavailable | None) -> tuple[Reset | Interrupted, float]:
        """What to tell of the end of a stream, and the pause in seconds before the next. Raises after the last attempt.

        The failures in a row count that came to the end of no list and to no event after one.
        """
        broken: Reset | Interrupted
        match error:
            case TooOld():
                failure = Unavailable(f"changes come faster than they can be read here ({error}); watch fewer sessions")
                broken, self.revision = Reset(error.message), 0
            case _:
                failure = error or Unavailable("the server ended the stream of events; try again")
                broken = Interrupted(failure)
        import random  # only after a failure: `netvps ls` is not to wait for it

        self._failures += 1
        if self._attempts is not None and self._failures >= self._attempts:
            raise failure
        longest = min(_BACK_OFF_MAX, _BACK_OFF * 2.0 ** min(self._failures, 10))
        return broken, random.uniform(0, longest)  # noqa: S311 — jitter

    def _gone(self, listed: set[str], revision: int) -> Iterator[SessionEvent]:
        for uid, session in list(self._known.items()):
            if uid not in listed and session.revision <= revision:
                del self._known[uid]
                yield SessionEvent(EventType.DELETED, session, revision)


class Waiting:
    """A wait for a session to get into a state, or to fulfil a condition."""

    def __init__(self, session: Session, goal: SessionState | Callable[[Session], bool], timeout: float) -> None:
        self._latest = session
        self._goal = goal
        self._timeout = timeout

    def reached(self) -> Session | None:
        """The session if it is there; None if it is not yet. Raises WrongState if it failed on the way to a state."""
        session = self._latest
        if not isinstance(self._goal, SessionState):
            return session if self._goal(session) else None
        if session.state is self._goal:
            return session
        if session.state is SessionState.FAILED:
            raise WrongState(f"session {session.full_name} failed: {session.message or session.reason or 'no reason'}")
        return None

    def apply(self, event: WatchEvent) -> Session | None:
        """As `reached`, after an event. Raises NotFound if the session was removed, and that is not what is awaited."""
        if not isinstance(event, SessionEvent) or event.session is None or event.session.uid != self._latest.uid:
            return None
        if event.type is EventType.DELETED:
            self._latest = replace(event.session, state=SessionState.DELETED)
            if (session := self.reached()) is None:
                raise NotFound(f"session {self._latest.full_name} was removed")
            return session
        if event.session.revision < self._latest.revision:
            return None  # a list can be older than the answer to a call
        self._latest = event.session
        return self.reached()

    def timed_out(self) -> TimedOut:
        """The error of a wait that takes too long."""
        latest = self._latest
        about = f": {latest.message}" if latest.message else ""
        return TimedOut(f"session {latest.full_name} is still {latest.state} after {self._timeout:g} s{about}")
