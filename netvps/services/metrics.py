"""Watches what sessions and runners use. Nothing is stored: runners measure while someone watches."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from netvps.domain.access.sharing import Right
from netvps.domain.metrics import MACHINE, MetricSample
from netvps.domain.names import SessionName
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session, SessionState
from netvps.errors import NetvpsError, NotFound
from netvps.services.feed import Topic
from netvps.services.sessions.removal import runner_named
from netvps.services.sessions.scope import find_session, owner_filter
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from netvps.domain.access.accounts import Caller
    from netvps.services.feed import Feed, Subscription
    from netvps.services.ports import Change, MetricsInbox, MetricsSource, Reader, Store

INTERVAL: Final = 1.0
PATIENCE: Final = 3.0
MAX_OF_PARENT: Final = 1024
_MEASURED: Final = (SessionState.RUNNING, SessionState.PAUSED, SessionState.STOPPING)


class _Selection:
    """The resources that are watched, and the targets (services.ports.MetricsInbox) that measure them."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], str] = {}
        """Resource names of the targets."""
        self._where: dict[str, tuple[str, str]] = {}
        """Targets of sessions, by uid."""
        self._known: set[str] = set()
        self._growing = False

    async def select(
        self, reader: Reader, caller: Caller, sessions: Sequence[str], runners: Sequence[str], parent: str
    ) -> list[Topic]:
        """Selects resources; returns the topics of their changes. Raises NotFound, InvalidInput."""
        self._growing = not (sessions or runners)
        if self._growing:
            where = await owner_filter(reader, caller, parent)
            for session in await reader.page(Session, "", MAX_OF_PARENT, state=tuple(_MEASURED), **where):
                self._put(session)
            return [Topic(Session.kind, "owner", where["owner"]) if where else Topic(Session.kind)]
        topics = []
        for name in sessions:
            session = await find_session(reader, caller, SessionName.parse(name, caller.user), Right.INSPECT)
            self._known.add(session.uid)
            self._put(session)
            topics.append(Topic(Session.kind, "key", session.uid))
        for name in runners:
            runner = await runner_named(reader, name)
            self._known.add(runner.uid)
            self.names[runner.uid, MACHINE] = f"runners/{runner.name}"
            topics.append(Topic(Runner.kind, "key", runner.uid))
        return topics

    def apply(self, change: Change) -> bool:
        """Takes a change in; whether the targets are others now. Raises NotFound if nothing that was named is left."""
        before = {**self.names}
        resource = change.resource
        if isinstance(resource, Session):
            self._put(resource, exists=not change.deleted)
        elif isinstance(resource, Runner) and change.deleted:
            self.names.pop((resource.uid, MACHINE), None)
        if change.deleted:
            self._known.discard(resource.key)
            if not (self._known or self._growing):
                raise NotFound("everything that was watched here was deleted")
        return self.names != before

    def _put(self, session: Session, *, exists: bool = True) -> None:
        """Follows a session to its runner, and drops it while it does not run."""
        if (before := self._where.pop(session.uid, None)) is not None:
            del self.names[before]
        if exists and session.state in _MEASURED and session.runner and len(self._where) < MAX_OF_PARENT:
            target = self._where[session.uid] = session.runner, session.uid
            self.names[target] = f"sessions/{session.full_name}"


class Metrics:
    """Watches metrics."""

    def __init__(self, store: Store, feed: Feed, interval: float = INTERVAL, patience: float = PATIENCE) -> None:
        """`interval` is the minimum time between two messages of a watch, `patience` the maximum, in seconds."""
        self._store = store
        self._feed = feed
        self._interval = interval
        self._patience = patience

    async def watch(
        self, caller: Caller, sessions: Sequence[str], runners: Sequence[str], parent: str, source: MetricsSource
    ) -> AsyncGenerator[list[MetricSample], None]:
        """Yields new samples of the named sessions (NAME or NAME.OWNER) and runners, or of a parent's sessions.

        Yields an empty list if there were none for some seconds.

        Raises NotFound if one of them does not exist or may not be seen by the caller, also later, when the last one is
        deleted; TooOld and Unavailable as Watch does.
        """
        async with self._feed.subscribe() as news, Tasks() as tasks:
            async with self._store.read() as reader:
                for topic in await _Selection().select(reader, caller, sessions, runners, parent):
                    news.follow(topic)
            # Read again: what changed since the first reading may have been distributed before the topics were known.
            selection = _Selection()
            async with self._store.read() as reader:
                await selection.select(reader, caller, sessions, runners, parent)
                head = reader.revision
            with source.open() as inbox:
                inbox.follow(frozenset(selection.names))
                tasks.start(_follow(news, head, selection, inbox), name="places of watched sessions")
                while True:
                    try:
                        async with asyncio.timeout(self._patience):
                            received = await inbox.next()
                    except TimeoutError:
                        yield []
                        continue
                    names = selection.names
                    if samples := [
                        MetricSample(names[each.target], each.time, each.measured)
                        for each in received
                        if each.target in names
                    ]:
                        yield samples
                    await asyncio.sleep(self._interval)


async def _follow(news: Subscription, head: int, selection: _Selection, inbox: MetricsInbox) -> None:
    """Follows sessions from runner to runner after revision `head`, until there is nothing left to watch."""
    try:
        async for change in news:
            if change.revision > head and selection.apply(change):
                inbox.follow(frozenset(selection.names))
    except NetvpsError as error:
        inbox.end(error)
