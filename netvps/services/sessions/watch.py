"""Watches of sessions and snapshots: each change exactly once, in order, without a gap."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.access.sharing import Right, Share
from netvps.domain.names import SessionName
from netvps.domain.session.event import EventType, SessionEvent, SnapshotEvent
from netvps.domain.session.lifecycle import settled
from netvps.domain.session.session import Session, SessionState
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotState
from netvps.errors import TooOld
from netvps.services.feed import PROGRESS, Topic
from netvps.services.follow import Head, follow_log
from netvps.services.page import read_all
from netvps.services.sessions.scope import ALL, permitted_session, snapshot_filter, visible_sessions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection

    from netvps.domain.access.accounts import Caller
    from netvps.services.feed import Feed
    from netvps.services.ports import Change, Clock, Store
    from netvps.services.sessions.scope import Visible

__all__ = ["EventType", "SessionEvent", "Watch"]

_REMEMBERED = 32  # events; few, because each may contain an environment of megabytes


class Watch:
    """Watches sessions and snapshots."""

    def __init__(self, store: Store, feed: Feed, clock: Clock) -> None:
        self._store = store
        self._feed = feed
        self._clock = clock
        self.watchers = 0
        """Number of open watches."""
        self._events: dict[int, SessionEvent] = {}

    async def sessions(
        self, caller: Caller, parent: str, from_revision: int, *, progress: bool = False
    ) -> AsyncGenerator[SessionEvent, None]:
        """Yields the list (or the changes after `from_revision`, if not 0), CAUGHT_UP, then changes without end.

        With `progress`, also progress events. `parent` as in Sessions.list. Raises NotFound, TooOld if the log does not
        reach back far enough, the reader is too slow, or other sessions are shared with the caller now (list again,
        then watch), and Unavailable when the server stops.
        """
        async with self._counted():
            async with self._store.read() as reader:
                visible = await visible_sessions(reader, caller, parent, self._clock())
                listed = [] if from_revision else await read_all(reader, Session, visible.also, **visible.where)
                sent = from_revision or reader.revision
            if not from_revision:
                for session in listed:
                    yield SessionEvent(EventType.PUT, session, session.revision)
                yield SessionEvent(EventType.CAUGHT_UP, None, sent)
            topics, concerns = _scope(visible, caller, parent, progress=progress)
            async with aclosing(follow_log(self._store, self._feed, sent, topics, concerns)) as changes:
                async for change in changes:
                    if isinstance(change, Head):
                        if from_revision:
                            yield SessionEvent(EventType.CAUGHT_UP, None, change.revision)
                    elif isinstance(change.resource, Share):
                        raise TooOld("other sessions are shared with you now: list again, then watch")
                    else:
                        yield self._event(change)

    async def until(
        self, caller: Caller, name: str, states: Collection[SessionState], seconds: float
    ) -> tuple[Session, bool]:
        """The session once it is in one of these states, or after these seconds; and whether it is in one.

        Answers early where it will not get there by itself: it failed, or was deleted. Raises NotFound, NotPermitted,
        and Unavailable when the server stops.
        """
        full_name = SessionName.parse(name, caller.user)
        async with self._store.read() as reader:
            session, _ = await permitted_session(reader, caller, full_name, Right.READ, self._clock())
            revision = reader.revision
        topics = [Topic(Session.kind, "key", session.uid)]
        with suppress(TimeoutError):
            async with self._counted(), asyncio.timeout(seconds):
                changes = follow_log(self._store, self._feed, revision, topics, lambda change: _is(change, session))
                async with aclosing(changes):
                    while not (session.state in states or _is_over(session)):
                        change = await anext(changes)
                        if not isinstance(change, Head):
                            session = self._event(change).session or session
        if session.state is not SessionState.DELETED:
            async with self._store.read() as reader:  # a share may have ended meanwhile
                await permitted_session(reader, caller, session.full_name, Right.READ, self._clock())
        return session, session.state in states

    async def snapshots(
        self, caller: Caller, parent: str, session: str, from_revision: int
    ) -> AsyncGenerator[SnapshotEvent, None]:
        """As `sessions`, of the snapshots of one session (NAME or NAME.OWNER), or, if that is '', of `parent`."""
        async with self._store.read() as reader:
            where = await snapshot_filter(reader, caller, parent, session)

        def concerns(change: Change) -> bool:
            found = change.resource
            return isinstance(found, Snapshot) and all(getattr(found, by) == value for by, value in where.items())

        topics = [Topic(Snapshot.kind, by, value) for by, value in where.items()] or [Topic(Snapshot.kind)]
        async with self._counted():
            sent = from_revision
            if not from_revision:
                async with self._store.read() as reader:
                    sent = reader.revision
                    listed = await read_all(reader, Snapshot, **where)
                for snapshot in listed:
                    yield SnapshotEvent(EventType.PUT, snapshot, snapshot.revision)
                yield SnapshotEvent(EventType.CAUGHT_UP, None, sent)
            async with aclosing(follow_log(self._store, self._feed, sent, topics, concerns)) as changes:
                async for change in changes:
                    if not isinstance(change, Head):
                        yield _snapshot_event(change)
                    elif from_revision:
                        yield SnapshotEvent(EventType.CAUGHT_UP, None, change.revision)

    @asynccontextmanager
    async def _counted(self) -> AsyncIterator[None]:
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def _event(self, change: Change) -> SessionEvent:
        """The event of a change. Shared between all watchers, so that it is encoded once."""
        if change.ephemeral:
            return SessionEvent(EventType.PROGRESS, _session(change), change.revision)
        event = self._events.get(change.revision)
        if event is None:
            event = self._events[change.revision] = _event(change)
            if len(self._events) > _REMEMBERED:
                del self._events[next(iter(self._events))]
        return event


def _is(change: Change, session: Session) -> bool:
    return isinstance(change.resource, Session) and change.resource.uid == session.uid


def _is_over(session: Session) -> bool:
    """Whether a session failed or was deleted."""
    return session.state is SessionState.DELETED or (session.state is SessionState.FAILED and settled(session))


def _scope(
    visible: Visible, caller: Caller, parent: str, *, progress: bool
) -> tuple[list[Topic], Callable[[Change], bool]]:
    """The topics of a watch, and which changes of older parts of the log concern it."""
    owner = str(visible.where.get("owner") or "")
    everything = not visible.where
    shares = bool(visible.also) or (parent == ALL and not everything)

    def concerns(change: Change) -> bool:
        match change.resource:
            case Session(uid=uid, owner=of):
                return everything or of == owner or uid in visible.also
            case Share(user=user):
                return shares and user == caller.user
            case _:
                return False

    kinds = (Session.kind, PROGRESS) if progress else (Session.kind,)
    topics = [Topic(kind) for kind in kinds if everything]
    topics += [Topic(kind, "owner", owner) for kind in kinds if owner]
    topics += [Topic(Session.kind, "key", uid) for uid in visible.also]
    return topics + [Topic(Share.kind, "user", caller.user)] * shares, concerns


def _session(change: Change) -> Session:
    assert isinstance(change.resource, Session)  # noqa: S101 — guaranteed by the topics
    return change.resource


def _event(change: Change) -> SessionEvent:
    session = _session(change)
    if change.deleted:
        gone = replace(session, state=SessionState.DELETED, revision=change.revision)
        return SessionEvent(EventType.DELETED, gone, change.revision)
    return SessionEvent(EventType.PUT, session, change.revision)


def _snapshot_event(change: Change) -> SnapshotEvent:
    snapshot = change.resource
    assert isinstance(snapshot, Snapshot)  # noqa: S101 — guaranteed by the topics
    if change.deleted:
        gone = replace(snapshot, state=SnapshotState.DELETING, revision=change.revision)
        return SnapshotEvent(EventType.DELETED, gone, change.revision)
    return SnapshotEvent(EventType.PUT, snapshot, change.revision)
