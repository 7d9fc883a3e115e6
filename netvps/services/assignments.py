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
from netvps.domain.runner import CaughtUp
from netvps.domain.session import Assignment, Session
from netvps.errors import TooOld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.services.feed import Feed
    from netvps.services.ports import Change, Store

log = structlog.get_logger()


async def follow(store: Store, feed: Feed, runner_uid: str) -> AsyncGenerator[Assignment | CaughtUp, None]:
    """The list, CaughtUp, then every change for ever; the list again where the runner fell too far behind."""
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
        session = change.resource
        return isinstance(session, Session) and (session.runner == runner_uid or session.uid in told)

    async with feed.subscribe(concerns) as news:
        async with store.read() as reader:
            sessions = await reader.find(Session, runner=runner_uid)
            revision = reader.revision
        told.update((session.uid, _content(session)) for session in sessions)
        for session in sessions:
            yield assignment(session)
        yield CaughtUp(revision)
        async for change in news:
            resource = change.resource
            assert isinstance(resource, Session)  # noqa: S101 — matched
            if change.revision <= revision:
                continue
            if change.deleted:
                told.pop(resource.uid, None)
            elif resource.runner != runner_uid:
                return
            elif told.get(resource.uid) != _content(resource):  # else it is but the echo of the runner's own report
                told[resource.uid] = _content(resource)
                yield assignment(resource)


def _content(session: Session) -> Assignment:
    return replace(assignment(session), revision=0)
