"""Watches of sessions: each change exactly once, in order, without a gap."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import Session, SessionState
from netvps.errors import TooOld
from netvps.services.feed import PROGRESS, Topic
from netvps.services.page import read_all
from netvps.services.sessions.scope import owner_filter

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from netvps.domain.access.accounts import Caller
    from netvps.services.feed import Feed
    from netvps.services.ports import Change, Store

__all__ = ["EventType", "SessionEvent", "Watch"]

_CHUNK = 500
_REMEMBERED = 32  # events; few, because each may contain an environment of megabytes


@dataclass(frozen=True, slots=True)
class _Head:
    """Marker for the end of the log."""

    revision: int


class Watch:
    """Watches sessions."""

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed
        self.watchers = 0
        """Number of open watches."""
        self._events: dict[int, SessionEvent] = {}

    async def sessions(
        self, caller: Caller, parent: str, from_revision: int, *, progress: bool = False
    ) -> AsyncGenerator[SessionEvent, None]:
        """Yields the list (or the changes after `from_revision`, if not 0), CAUGHT_UP, then changes without end.

        With `progress`, also progress events. `parent` as in Sessions.list. Raises NotFound, TooOld if the log does not
        reach back far enough or the reader is too slow (list again, then watch), and Unavailable when the server stops.
        """
        async with self._store.read() as reader:
            where = await owner_filter(reader, caller, parent)
        owner = where.get("owner")

        def concerns(change: Change) -> bool:
            return isinstance(change.resource, Session) and owner in {None, change.resource.owner}

        kinds = (Session.kind, PROGRESS) if progress else (Session.kind,)
        topics = [Topic(kind, "owner", owner) if owner else Topic(kind) for kind in kinds]
        async with self._counted():
            sent = from_revision
            if not from_revision:
                async with self._store.read() as reader:
                    sent = reader.revision
                    listed = await read_all(reader, Session, **where)
                for session in listed:
                    yield SessionEvent(EventType.PUT, session, session.revision)
                yield SessionEvent(EventType.CAUGHT_UP, None, sent)
            async with aclosing(self._changes(sent, topics, concerns)) as changes:
                async for change in changes:
                    if isinstance(change, _Head):
                        if from_revision:
                            yield SessionEvent(EventType.CAUGHT_UP, None, change.revision)
                    else:
                        yield self._event(change)

    async def _changes(
        self, after: int, topics: list[Topic], concerns: Callable[[Change], bool]
    ) -> AsyncGenerator[Change | _Head, None]:
        """Yields the changes after a revision without end, and _Head once, at the end of the log when it was read."""
        async with self._store.read() as reader:
            if after > reader.revision:
                raise TooOld(
                    f"revision {after} is later than the current {reader.revision}, so it is of another log: list again"
                )
        # Sending a list or missed changes may take longer than a subscription's queue can buffer. So changes are read
        # from the log first, and the subscription starts only at its end.
        while changes := await self._store.changes(after, _CHUNK):
            for change in filter(concerns, changes):
                yield change
            after = changes[-1].revision
        # Subscribes before the last read of the log, so that there is no gap; duplicates are skipped by revision.
        async with self._feed.subscribe(*topics) as news:
            async with self._store.read() as reader:
                head = reader.revision
            async with aclosing(self._missed(after, head)) as missed:
                async for change in missed:
                    if concerns(change):
                        yield change
            yield _Head(head)
            async for change in news:
                if change.revision > head or (change.ephemeral and change.revision == head):
                    yield change

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

    async def _missed(self, after: int, until: int) -> AsyncGenerator[Change, None]:
        while after < until:
            changes = await self._store.changes(after, _CHUNK)
            for change in changes:
                if change.revision > until:
                    return
                yield change
            if not changes:
                return
            after = changes[-1].revision


def _session(change: Change) -> Session:
    assert isinstance(change.resource, Session)  # noqa: S101 — guaranteed by the topics
    return change.resource


def _event(change: Change) -> SessionEvent:
    session = _session(change)
    if change.deleted:
        gone = replace(session, state=SessionState.DELETED, revision=change.revision)
        return SessionEvent(EventType.DELETED, gone, change.revision)
    return SessionEvent(EventType.PUT, session, change.revision)
