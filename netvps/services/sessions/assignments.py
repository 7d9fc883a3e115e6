"""The desired state of a runner's sessions, copies of snapshots and tasks: sent as a full list, then as changes.

The full list is sent on every connection, whatever revision the runner resumes from: only the list shows which
containers are orphaned, it is short (one machine's sessions), and a single code path is simpler than two.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from netvps.domain.moves.eviction import Eviction, eviction_assignment
from netvps.domain.runner.runner import CaughtUp, Runner
from netvps.domain.session.lifecycle import assignment
from netvps.domain.session.session import Assignment, Session
from netvps.domain.snapshot.copies import Copy, order_of
from netvps.domain.task.task import Task
from netvps.domain.task.task import order_of as task_order_of
from netvps.errors import TooOld
from netvps.services.feed import Topic
from netvps.services.sessions.removal import was_removed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.domain.snapshot.copies import CopyOrder
    from netvps.domain.task.task import TaskOrder
    from netvps.services.feed import Feed, Subscription
    from netvps.services.ports import Change, Store

_Resource = Session | Eviction | Copy | Task
log = structlog.get_logger()


async def follow(
    store: Store, feed: Feed, runner_uid: str
) -> AsyncGenerator[Assignment | CopyOrder | TaskOrder | CaughtUp, None]:
    """Yields the list, CaughtUp, then every change without end; starts over if the runner falls too far behind.

    Raises NotFound once the runner is removed.
    """
    while True:
        try:
            async with aclosing(_list_then_changes(store, feed, runner_uid)) as items:
                async for item in items:
                    yield item
        except TooOld as error:
            log.info("sending the full list to the runner again", runner=runner_uid, reason=str(error))


async def _list_then_changes(
    store: Store, feed: Feed, runner_uid: str
) -> AsyncGenerator[Assignment | CopyOrder | TaskOrder | CaughtUp, None]:
    """Ends when a session moves to another runner: the next list shows that it is gone from this one."""

    def concerns(change: Change) -> bool:
        return change.deleted or not isinstance(change.resource, Runner)

    topics = [Topic(Runner.kind, "key", runner_uid)]
    topics += [Topic(kind, "runner", runner_uid) for kind in (Session.kind, Eviction.kind, Copy.kind, Task.kind)]
    async with feed.subscribe(*topics, match=concerns) as news:
        listed, revision = await _listed(store, runner_uid)
        sent = _Sent(news)
        for one in listed:
            sent.is_new(one)
        for one in listed:
            yield _wanted(one)
        yield CaughtUp(revision)
        async for change in news:
            resource = change.resource
            if isinstance(resource, Runner):
                raise was_removed()
            assert isinstance(resource, Session | Eviction | Copy | Task)  # noqa: S101 — matched
            if change.revision <= revision:
                continue
            if change.deleted:
                sent.forget(resource)
            elif resource.runner != runner_uid:
                return
            elif sent.is_new(resource):
                yield _wanted(resource)


class _Sent:
    """What was sent to a runner."""

    def __init__(self, news: Subscription) -> None:
        self._news = news
        self._contents: dict[tuple[str, str], Assignment | CopyOrder | TaskOrder] = {}

    def is_new(self, resource: _Resource) -> bool:
        """Whether the runner has to learn of it; if not, it is an echo of the runner's own report."""
        key, wanted = (resource.kind, resource.key), _wanted(resource)
        content = replace(wanted, revision=0) if isinstance(wanted, Assignment) else wanted
        if self._contents.get(key) == content:
            return False
        self._contents[key] = content
        if isinstance(resource, Session):
            self._news.follow(_only(resource))  # also after it moves to another runner
        return True

    def forget(self, resource: _Resource) -> None:
        """Forgets what was deleted."""
        self._contents.pop((resource.kind, resource.key), None)
        if isinstance(resource, Session):
            self._news.unfollow(_only(resource))


async def _listed(store: Store, runner_uid: str) -> tuple[list[_Resource], int]:
    """What the runner is to do, and the revision of the read. Raises NotFound if it was removed.

    Sessions come first, then those that left it, then copies and tasks.
    """
    async with store.read() as reader:
        if await reader.get(Runner, runner_uid) is None:
            raise was_removed()
        sessions = await reader.find(Session, runner=runner_uid)
        evictions = await reader.find(Eviction, runner=runner_uid)
        copies = await reader.find(Copy, runner=runner_uid)
        tasks = await reader.find(Task, runner=runner_uid)
        return [*sessions, *evictions, *copies, *tasks], reader.revision


def _wanted(resource: _Resource) -> Assignment | CopyOrder | TaskOrder:
    match resource:
        case Session():
            return assignment(resource)
        case Eviction():
            return eviction_assignment(resource)
        case Copy():
            return order_of(resource)
        case Task():
            return task_order_of(resource)


def _only(session: Session) -> Topic:
    return Topic(Session.kind, "key", session.uid)
