"""What the watch says becomes what is shown, at most four times a second."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest
from netvps_tui.live import Live, Status

from netvps.client import EventType, Interrupted, Reset, SessionEvent, SessionFilter, SessionPage
from netvps.domain.names import SessionName
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import InvalidInput, NetvpsError, NotPermitted, Unauthenticated, Unavailable
from tests.rpc.site import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.client import AsyncClient, WatchEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(name: str, revision: int, state: SessionState = SessionState.RUNNING, message: str = "") -> Session:
    made = new_session(f"uid-{name}", SessionName("alice", name), SessionSpec(image="debian:12"), NOW)
    return replace(made, revision=revision, state=state, message=message)


def put(name: str, revision: int, kind: EventType = EventType.PUT, message: str = "") -> SessionEvent:
    return SessionEvent(kind, session(name, revision, message=message), revision)


class Client:
    """Lists sessions in pages of two, then has these events, and then the end that is given."""

    def __init__(self, listed: list[Session], *events: WatchEvent, error: NetvpsError | None = None) -> None:
        self.listed, self.events, self.error = listed, events, error
        self.asked: list[Any] = []
        self.refusal: NetvpsError | None = None
        self.listed_again: list[Session] | None = None

    async def list_session_pages(self, parent: str, matching: str, *, first: int) -> Any:
        self.asked.append(("list", matching))
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise refusal
        listed, self.listed = self.listed, self.listed if self.listed_again is None else self.listed_again
        wanted = [one for one in listed if SessionFilter.parse(matching).matches(one)]
        for start in range(0, max(1, len(wanted)), 2):
            yield SessionPage(7 + start, iter(wanted[start : start + 2]))

    async def watch(self, parent: str, from_revision: int, *, attempts: None) -> Any:
        self.asked.append(("watch", from_revision))
        events, self.events, error, self.error = self.events, (), self.error, None
        for event in events:
            yield event
        if error is not None:
            raise error
        if not isinstance(events[-1] if events else None, Reset):
            await asyncio.sleep(60)


class Heard:
    def __init__(self) -> None:
        self.news: list[set[str]] = []
        self.statuses: list[Status] = []
        self.live = Live(self.news.append, lambda: self.statuses.append(self.live.status))

    @asynccontextmanager
    async def following(self, client: Client) -> AsyncIterator[None]:
        task = asyncio.create_task(self.live.run(cast("AsyncClient", client)))
        try:
            yield
        finally:
            task.cancel()


async def test_changes_come_in_batches_and_nothing_comes_without_one() -> None:
    heard = Heard()
    async with heard.following(Client([session("a", 1), session("b", 2)])):
        await soon(lambda: heard.live.complete and heard.news)
    for revision in range(10, 60):
        heard.live.apply(put("a", revision))
    begun = asyncio.get_running_loop().time()
    count = len(heard.news)
    await soon(lambda: len(heard.news) == count + 1)
    assert asyncio.get_running_loop().time() - begun > 0.2
    assert [set.union(*heard.news[:-1]), heard.news[-1]] == [{"uid-a", "uid-b"}, {"uid-a"}]
    assert heard.live.sessions["uid-a"].revision == 59
    assert len(heard.live.events) == 50


async def test_progress_is_shown_until_the_session_changes_and_what_is_older_is_not_taken() -> None:
    heard = Heard()
    for event in (put("a", 5), put("a", 5, EventType.PROGRESS, "pulling: 3 MB of 9 MB")):
        heard.live.apply(event)
    assert heard.live.progress == {"uid-a": "pulling: 3 MB of 9 MB"}
    heard.live.apply(put("a", 4))
    assert heard.live.sessions["uid-a"].revision == 5
    heard.live.answer(session("a", 7, SessionState.STOPPED))
    heard.live.answer(session("a", 6))
    heard.live.answer(session("new", 8))  # the watch brings it
    assert heard.live.sessions == {"uid-a": session("a", 7, SessionState.STOPPED)}
    heard.live.apply(put("a", 9, EventType.DELETED))
    assert (heard.live.sessions, heard.live.progress) == ({}, {})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps_tui.live._RETRY", 0.0)
    monkeypatch.setattr("netvps_tui.live._BACK_OFF", 0.0)


@pytest.mark.usefixtures("at_once")
async def test_a_break_and_a_refusal_are_shown_once_and_end_by_themselves() -> None:
    heard = Heard()
    broken = [Interrupted(Unavailable("no server")), Interrupted(Unavailable("no server"))]
    client = Client([session("a", 1)], put("a", 8), *broken, error=NotPermitted("you may list no sessions"))
    client.refusal = Unavailable("no server yet")
    async with heard.following(client):
        await soon(lambda: len(client.asked) == 5)
        await soon(lambda: heard.live.status is Status.LIVE)
    assert heard.statuses == [Status.AWAY, Status.LIVE, Status.AWAY, Status.REFUSED, Status.LIVE]
    assert client.asked == [("list", ""), ("list", ""), ("watch", 7), ("list", ""), ("watch", 7)]


@pytest.mark.usefixtures("at_once")
async def test_after_the_end_of_the_credential_nothing_is_tried_again() -> None:
    heard = Heard()
    client = Client([session("a", 1)], put("a", 8), error=Unauthenticated("the key has expired"))
    await asyncio.wait_for(heard.live.run(cast("AsyncClient", client)), 5)
    assert client.asked == [("list", ""), ("watch", 7)]
    heard.live.apply(put("a", 9))  # which was under way
    assert (heard.live.status, heard.live.error) == (Status.ENDED, "the key has expired")
    assert heard.statuses == [Status.LIVE, Status.ENDED]


@pytest.mark.usefixtures("at_once")
async def test_after_missed_changes_the_list_is_read_again_and_what_is_gone_goes() -> None:
    heard = Heard()
    client = Client([session("a", 1), session("b", 2), session("c", 3)], put("new", 9), Reset("behind"))
    client.listed_again = [session("c", 3)]
    async with heard.following(client):
        await soon(lambda: len(client.asked) == 4)
    assert {*heard.live.sessions} == {"uid-c", "uid-new"}  # which is newer than the list


async def test_of_too_many_the_server_lists_what_the_filter_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps_tui.live.MOST", 2)
    heard = Heard()
    client = Client([session(name, 1) for name in ("a", "b", "c", "d")], put("e", 9))
    async with heard.following(client):
        await soon(lambda: len(client.asked) == 2)
    assert (heard.live.more, [*heard.live.sessions]) == (True, ["uid-a", "uid-b"])
    with pytest.raises(InvalidInput):
        heard.live.narrow("name=")
    assert heard.live.narrow("name:d")
    assert not heard.live.narrow("name:d")
    client.events = (put("dd", 9), put("e", 10))
    async with heard.following(client):
        await soon(lambda: "uid-dd" in heard.live.sessions)
    assert (heard.live.more, [*heard.live.sessions]) == (False, ["uid-d", "uid-dd"])
    assert heard.live.narrow("")


async def test_all_are_known_and_the_server_does_not_filter() -> None:
    heard = Heard()
    async with heard.following(Client([session("a", 1)])):
        await soon(lambda: heard.live.complete)
    assert not heard.live.narrow("name:b")
