"""The desired state of a runner's sessions: sent as a full list, then as changes.

The full list is sent on every connection, whatever revision the runner resumes from: only the list shows which
containers are orphaned, it is short (one machine's sessions), and a single code path is simpler than two.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from netvps.domain.runner.runner import CaughtUp, Runner
from netvps.domain.session.lifecycle import assignment
from netvps.domain.session.session import Assignment, Session
from netvps.errors import TooOld
from netvps.services.feed import Topic
from netvps.services.sessions.removal import was_removed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.services.feed import Feed
    from netvps.services.ports import Change, Store

log = structlog.get_logger()


async def follow(store: Store, feed: Feed, runner_uid: str) -> AsyncGenerator[Assignment | CaughtUp, None]:
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


async def _list_then_changes(store: Store, feed: Feed, runner_uid: str) -> AsyncGenerator[Assignment | CaughtUp, None]:
    """Ends when a session moves to another runner: the next list shows that it is gone from this one."""
    sent: dict[str, Assignment] = {}

    def concerns(change: Change) -> bool:
        return change.deleted or not isinstance(change.resource, Runner)

    runner, here = Topic(Runner.kind, "key", runner_uid), Topic(Session.kind, "runner", runner_uid)
    async with feed.subscribe(runner, here, match=concerns) as news:
        sessions, revision = await _assigned(store, runner_uid)
        for session in sessions:
            sent[session.uid] = _content(session)
            news.follow(_only(session))  # also after it moves to another runner
        for session in sessions:
            yield assignment(session)
        yield CaughtUp(revision)
        async for change in news:
            resource = change.resource
            if isinstance(resource, Runner):
                raise was_removed()
            assert isinstance(resource, Session)  # noqa: S101 — matched
            if change.revision <= revision:
                continue
            if change.deleted:
                sent.pop(resource.uid, None)
                news.unfollow(_only(resource))
            elif resource.runner != runner_uid:
                return
            elif sent.get(resource.uid) != _content(resource):  # else an echo of the runner's own report
                sent[resource.uid] = _content(resource)
                news.follow(_only(resource))
                yield assignment(resource)


async def _assigned(store: Store, runner_uid: str) -> tuple[list[Session], int]:
    """The runner's sessions, and the revision of the read. Raises NotFound if the runner was removed."""
    async with store.read() as reader:
        if await reader.get(Runner, runner_uid) is None:
            raise was_removed()
        return await reader.find(Session, runner=runner_uid), reader.revision


def _only(session: Session) -> Topic:
    return Topic(Session.kind, "key", session.uid)


def _content(session: Session) -> Assignment:
    return replace(assignment(session), revision=0)
