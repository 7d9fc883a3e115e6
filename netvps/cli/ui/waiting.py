"""Waits until sessions are as they were asked to be, and says what happens meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.cli.ui.follow import pumped
from netvps.cli.ui.progress import TICK, progress
from netvps.display.units import duration_words
from netvps.domain.session.lifecycle import (
    PAUSE_FAILED,
    RESIZE_REFUSED,
    RUNNER_LOST,
    SNAPSHOT_FAILED,
    SNAPSHOT_PENDING,
    settled,
)
from netvps.domain.session.session import ChangeCause, DesiredState, Session, SessionState
from netvps.errors import Exhausted, NetvpsError, NotFound, TimedOut, Unavailable, WrongState
from netvps.exit_codes import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netvps.cli.ui.progress import Progress
    from netvps.client import Client
    from netvps.domain.session.event import SessionEvent

_ERRORS: Final[dict[str, type[NetvpsError]]] = {
    "image": NotFound,
    "disk": Exhausted,
    "exhausted": Exhausted,
    RUNNER_LOST: Unavailable,
}


def until_settled(
    client: Client, sessions: Sequence[Session], timeout: float, at_rest: Callable[[Session], bool] | None = None
) -> list[Session]:
    """The sessions as they came to rest, in their order; one that is gone is in state DELETED.

    `timeout` is in seconds; `at_rest` says what is waited for, if not that all is as its owner asked.
    Raises TimedOut, Cancelled, or what ended the events.
    """
    wait = _Wait(sessions, at_rest or _at_rest)
    if not wait.open:
        return wait.result()
    deadline = time.monotonic() + timeout
    parent = sessions[0].owner if len({session.owner for session in sessions}) == 1 else "-"
    start = min(session.revision for session in sessions)
    try:
        with progress() as shown, pumped(client, parent, start, sessions) as pump:
            wait.tell(shown)
            while wait.open:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimedOut(
                        f"--timeout {duration_words(timeout)} is over and {wait.words()}; it goes on in the background:"
                        " `netvps watch` shows how"
                    )
                event = pump.next(min(TICK, left))
                if event is None:
                    shown.tick()
                elif wait.apply(event):
                    wait.tell(shown)
    except KeyboardInterrupt:
        raise Cancelled(
            f"stopped waiting; {wait.words()}, and it goes on in the background: see `netvps watch`"
        ) from None
    return wait.result()


def copied(session: Session) -> bool:
    """Whether nothing more is copied of a session that is stopped: it is done, or failed."""
    return session.state is not SessionState.STOPPED or session.reason != SNAPSHOT_PENDING


def require_snapshot(session: Session, called: str) -> None:
    """Raises WrongState if a session is stopped and has no snapshot of that."""
    if session.desired is DesiredState.STOPPED and session.reason == SNAPSHOT_FAILED:
        raise WrongState(
            f"session {called} is stopped, but its snapshot failed: {session.message}; nothing is lost, its container"
            f" is kept: `netvps stop {called}` tries again"
        )


def require(session: Session, called: str) -> None:
    """Raises the error that fits a session which did not get where its owner wanted it; `called` is its name."""
    if session.state is SessionState.FAILED:
        kind = _ERRORS.get(session.reason, WrongState)
        cause = session.message or session.reason or "its runner gave no reason"
        raise kind(
            f"session {called} failed: {cause}; `netvps start {called}` tries again, `netvps rm {called}` removes it"
        )
    if session.reason == RESIZE_REFUSED:
        raise Exhausted(f"session {called}: {session.message}")
    if session.reason == PAUSE_FAILED:
        raise WrongState(f"session {called}: {session.message}")
    if session.desired_by.cause is ChangeCause.ENDED:
        raise WrongState(f"session {called} is stopped: {session.message}; `netvps start {called}` starts it")


def failure(session: Session, called: str) -> NetvpsError | None:
    """What `require` raises."""
    try:
        require(session, called)
    except NetvpsError as error:
        return error
    return None


class _Wait:
    """What is still to come."""

    def __init__(self, sessions: Sequence[Session], at_rest: Callable[[Session], bool]) -> None:
        self._latest = {session.uid: session for session in sessions}
        self._at_rest = at_rest

    @property
    def open(self) -> list[Session]:
        """Those not at rest."""
        return [session for session in self._latest.values() if not self._at_rest(session)]

    def result(self) -> list[Session]:
        return list(self._latest.values())

    def apply(self, event: SessionEvent) -> bool:
        """Takes an event in; whether it was one of ours."""
        session = event.session
        if session is None or session.uid not in self._latest:
            return False
        if session.revision < self._latest[session.uid].revision:
            return False  # the list with which a watch begins again can be older than the answer we had
        gone = event.type == "DELETED"
        old = self._latest[session.uid].spec
        # Events leave these out.
        spec = replace(session.spec, env=old.env, command=old.command, authorized_keys=old.authorized_keys)
        self._latest[session.uid] = replace(session, spec=spec, state=SessionState.DELETED if gone else session.state)
        return True

    def tell(self, shown: Progress) -> None:
        if len(self._latest) > 1:
            rest = self.open
            if rest:
                shown.show(f"{len(self._latest) - len(rest)} of {len(self._latest)} done; {_words(rest[0])}")
            return
        for session in self.open:
            shown.show(_words(session))

    def words(self) -> str:
        """What has not happened yet."""
        rest = self.open
        more = f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""
        return f"session {_words(rest[0])}{more}" if rest else "all is done"


def _at_rest(session: Session) -> bool:
    return session.state is SessionState.DELETED or settled(session)


def _words(session: Session) -> str:
    doing = "being removed, " if session.desired is DesiredState.DELETED else ""
    return f"{session.name} is {doing}{session.state}" + (f": {session.message}" if session.message else "")
