"""What a runner is told: the desired state of its sessions, as a list and then as it changes.

The whole list comes each time, whatever revision the runner resumes from: only the list tells it which containers
belong to nobody, it is short (what fits on one machine), and there is one path instead of two.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from netvps.domain.lifecycle import assignment
from netvps.domain.runner import CaughtUp, Runner
from netvps.domain.session import Assignment, Session
from netvps.errors import TooOld
from netvps.services.feed import Topic
from netvps.services.removal import was_removed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.services.feed import Feed
    from netvps.services.ports import Change, Store

log = structlog.get_logger()


async def follow(store: Store, feed: Feed, runner_uid: str) -> AsyncGenerator[Assignment | CaughtUp, None]:
    """The list, CaughtUp, then every change for ever; the list again where the runner fell too far behind.

    Raises NotFound once the runner is removed.
    """
    while True:
        try:
            async with aclosing(_list_then_changes(store, feed, runner_uid)) as items:
                async for item in items:
                    yield item
        except TooOld as error:
            log.info("the runner gets its list again", runner=runner_uid, reason=str(error))


async def _list_then_changes(store: Store, feed: Feed, runner_uid: str) -> AsyncGenerator[Assignment | CaughtUp, None]:
    """Ends when a session moves to another runner: the next list shows that it is no longer here."""
    told: dict[str, Assignment] = {}

    def concerns(change: Change) -> bool:
        return change.deleted or not isinstance(change.resource, Runner)

    runner, here = Topic(Runner.kind, "key", runner_uid), Topic(Session.kind, "runner", runner_uid)
    async with feed.subscribe(runner, here, match=concerns) as news:
        sessions, revision = await _assigned(store, runner_uid)
        for session in sessions:
            told[session.uid] = _content(session)
            news.follow(_only(session))  # wherever it goes
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
                told.pop(resource.uid, None)
                news.unfollow(_only(resource))
            elif resource.runner != runner_uid:
                return
            elif told.get(resource.uid) != _content(resource):  # else it is but the echo of the runner's own report
                told[resource.uid] = _content(resource)
                news.follow(_only(resource))
                yield assignment(resource)


async def _assigned(store: Store, runner_uid: str) -> tuple[list[Session], int]:
    """The runner's sessions, as of which revision. Raises NotFound if it was removed."""
    async with store.read() as reader:
        if await reader.get(Runner, runner_uid) is None:
            raise was_removed()
        return await reader.find(Session, runner=runner_uid), reader.revision


def _only(session: Session) -> Topic:
    return Topic(Session.kind, "key", session.uid)


def _content(session: Session) -> Assignment:
    return replace(assignment(session), revision=0)
