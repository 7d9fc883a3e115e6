"""What the watch says becomes what is shown, at most four times a second."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from netvps_tui.live import Live, Status

from netvps.client import AsyncClient, EventType, Interrupted, Reset, SessionEvent
from netvps.domain.names import SessionName
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Unauthenticated, Unavailable
from tests.rpc.site import soon

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(name: str, revision: int, state: SessionState = SessionState.RUNNING, message: str = "") -> Session:
    made = new_session(f"uid-{name}", SessionName("alice", name), SessionSpec(image="debian:12"), NOW)
    return replace(made, revision=revision, state=state, message=message)


def put(name: str, revision: int, kind: EventType = EventType.PUT, message: str = "") -> SessionEvent:
    return SessionEvent(kind, session(name, revision, message=message), revision)


CAUGHT_UP = SessionEvent(EventType.CAUGHT_UP, None, 9)


class Heard:
    def __init__(self) -> None:
        self.news: list[set[str]] = []
        self.statuses: list[Status] = []
        self.live = Live(self.news.append, lambda: self.statuses.append(self.live.status))


async def test_changes_come_in_batches_and_nothing_comes_without_one() -> None:
    heard = Heard()
    for event in (put("a", 1), put("b", 2), CAUGHT_UP):
        heard.live.take(event)
    await soon(lambda: heard.news)
    for revision in range(10, 60):
        heard.live.take(put("a", revision))
    begun = asyncio.get_running_loop().time()
    await soon(lambda: len(heard.news) == 2)
    assert asyncio.get_running_loop().time() - begun > 0.2
    assert heard.news == [{"uid-a", "uid-b"}, {"uid-a"}]
    assert heard.live.sessions["uid-a"].revision == 59
    assert len(heard.live.events) == 50


async def test_progress_is_shown_until_the_session_changes_and_what_is_older_is_not_taken() -> None:
    heard = Heard()
    for event in (put("a", 5), CAUGHT_UP, put("a", 5, EventType.PROGRESS, "pulling: 3 MB of 9 MB")):
        heard.live.take(event)
    assert heard.live.progress == {"uid-a": "pulling: 3 MB of 9 MB"}
    heard.live.take(put("a", 4))
    assert heard.live.sessions["uid-a"].revision == 5
    heard.live.answer(session("a", 7, SessionState.STOPPED))
    heard.live.answer(session("a", 6))
    heard.live.answer(session("new", 8))  # the watch brings it
    assert heard.live.sessions == {"uid-a": session("a", 7, SessionState.STOPPED)}
    heard.live.take(put("a", 9, EventType.DELETED))
    assert (heard.live.sessions, heard.live.progress) == ({}, {})


async def test_a_break_and_a_refusal_are_shown_once_and_end_by_themselves() -> None:
    heard = Heard()

    class Client:
        begun = 0

        async def watch(self, _parent: str, *, known: list[Session], attempts: None) -> Any:
            self.begun += 1
            if self.begun == 1:
                yield put("a", 1)
                yield Interrupted(Unavailable("no server"))
                yield Interrupted(Unavailable("no server"))
                yield Reset("behind")
                raise Unauthenticated("the key has expired")
            assert [one.name for one in known] == ["a"]
            yield CAUGHT_UP
            await asyncio.sleep(60)

    import netvps_tui.live

    before, netvps_tui.live._RETRY = netvps_tui.live._RETRY, 0.0  # type: ignore[misc]  # a constant
    task = asyncio.create_task(heard.live.run(cast("AsyncClient", Client())))
    try:
        await soon(lambda: heard.live.complete)
    finally:
        netvps_tui.live._RETRY = before  # type: ignore[misc]
        task.cancel()
    assert heard.statuses == [Status.LIVE, Status.AWAY, Status.REFUSED, Status.LIVE]
