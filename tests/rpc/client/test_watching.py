"""Watches over breaks, and waits: nothing is missed and no loop is endless; the same on both clients."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from netvps.domain.names import SessionName
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import NotFound, TimedOut, TooOld, Unavailable, WrongState
from netvps.rpc.client.async_client import AsyncClient
from netvps.rpc.client.client import Client
from netvps.rpc.client.watching import Interrupted, Reset, Waiting
from tests.rpc.site import default_spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from netvps.rpc.client.watching import WatchEvent
    from tests.rpc.site import Site

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(name: str, revision: int, state: SessionState = SessionState.PENDING) -> Session:
    made = new_session(f"uid-{name}", SessionName("alice", name), SessionSpec(image="debian:12"), NOW)
    return replace(made, revision=revision, state=state)


def put(name: str, revision: int) -> SessionEvent:
    return SessionEvent(EventType.PUT, session(name, revision), revision)


def caught_up(revision: int) -> SessionEvent:
    return SessionEvent(EventType.CAUGHT_UP, None, revision)


class Script:
    """A client whose watches go as written: events, then the error that ends the watch; the last one repeats."""

    def __init__(self, *watches: list[Any]) -> None:
        self._watches = list(watches)
        self.asked: list[int] = []

    def watch_sessions(self, _parent: str, from_revision: int, *, timeout: float | None = None) -> Iterator[Any]:
        self.asked.append(from_revision)
        for item in self._watches.pop(0) if len(self._watches) > 1 else self._watches[0]:
            if isinstance(item, Exception):
                raise item
            yield item

    def watch(self, from_revision: int = 0, known: Iterable[Session] = ()) -> Iterator[WatchEvent]:
        return Client.watch(cast("Client", self), "", from_revision, known=known, pause=lambda _seconds: False)


class AsyncScript(Script):
    async def watch_sessions(self, parent: str, from_revision: int) -> AsyncIterator[Any]:  # type: ignore[override]
        for item in super().watch_sessions(parent, from_revision):
            yield item


def words(event: WatchEvent) -> str:
    match event:
        case SessionEvent():
            return f"{event.type} {event.session.name if event.session else ''}".strip()
        case Reset():
            return f"reset: {event.reason}"
        case Interrupted():
            return f"interrupted: {event.error}"


def heard(events: Iterator[WatchEvent], count: int) -> list[str]:
    return [words(next(events)) for _ in range(count)]


def test_a_list_that_broke_off_is_begun_again_not_resumed_in_its_middle() -> None:
    client = Script([put("a", 90), Unavailable("broke")], [put("a", 90), put("b", 5), caught_up(95), put("b", 96)])
    assert heard(client.watch(), 6) == ["PUT a", "interrupted: broke", "PUT a", "PUT b", "CAUGHT_UP", "PUT b"]
    assert client.asked == [0, 0]


def test_a_break_after_the_list_is_resumed_at_its_revision() -> None:
    client = Script([put("a", 9), caught_up(95), Unavailable("broke")], [caught_up(95), put("a", 96)])
    assert heard(client.watch(), 5) == ["PUT a", "CAUGHT_UP", "interrupted: broke", "CAUGHT_UP", "PUT a"]
    assert client.asked == [0, 95]


LOST = (
    [put("a", 3), put("b", 4), caught_up(5), TooOld("the reader fell behind")],
    [put("b", 4), put("new", 50), caught_up(60), put("b", 61)],
)
HEARD = ["PUT a", "PUT b", "CAUGHT_UP", "reset: the reader fell behind"]
HEARD += ["PUT b", "PUT new", "DELETED a", "CAUGHT_UP", "PUT b"]


def test_after_missed_changes_the_list_comes_again_with_what_is_gone() -> None:
    known = [session("waited-for", 4), session("later", 100)]
    expected = [*HEARD[:2], "DELETED waited-for", *HEARD[2:]]
    assert heard(Script(*LOST).watch(known=known), 10) == expected


async def test_the_asynchronous_watch_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.rpc.client.watching._BACK_OFF", 0.0)
    found: list[str] = []
    async with aclosing(AsyncClient.watch(cast("AsyncClient", AsyncScript(*LOST)))) as events:
        async for event in events:
            found.append(words(event))
            if len(found) == len(HEARD):
                break
    assert found == HEARD


def test_a_list_that_never_comes_to_its_end_is_given_up() -> None:
    client = Script([put("a", 3), TooOld("the reader fell 1024 changes behind")])
    with pytest.raises(Unavailable, match=r"changes come faster than they can be read here .*1024 changes behind"):
        list(client.watch())
    assert client.asked == [0] * 8


def test_a_server_that_is_away_is_given_up() -> None:
    client = Script([Unavailable("no netvps server answers")])
    with pytest.raises(Unavailable, match="no netvps server answers"):
        list(client.watch(7))
    assert client.asked == [7] * 8


def test_a_watch_ends_when_its_pause_is_cut_short() -> None:
    client = Script([Unavailable("no netvps server answers")])
    events = Client.watch(cast("Client", client), pause=lambda _seconds: True)
    assert [words(event) for event in events] == ["interrupted: no netvps server answers"]


def test_a_wait_knows_states_failures_and_what_is_gone() -> None:
    waiting = Waiting(session("a", 5), SessionState.RUNNING, 3)
    assert waiting.reached() is None
    assert waiting.apply(Reset("behind")) is None
    assert waiting.apply(put("b", 9)) is None
    older = SessionEvent(EventType.PUT, session("a", 4, SessionState.RUNNING), 4)
    assert waiting.apply(older) is None
    assert str(waiting.timed_out()) == "session a.alice is still PENDING after 3 s: waiting for a runner"
    running = session("a", 6, SessionState.RUNNING)
    assert waiting.apply(SessionEvent(EventType.PUT, running, 6)) == running
    with pytest.raises(WrongState, match=r"session a\.alice failed: waiting for a runner"):
        waiting.apply(SessionEvent(EventType.PUT, session("a", 7, SessionState.FAILED), 7))
    with pytest.raises(NotFound, match=r"session a\.alice was removed"):
        waiting.apply(SessionEvent(EventType.DELETED, session("a", 8), 8))
    gone = Waiting(session("a", 5), SessionState.DELETED, 3).apply(SessionEvent(EventType.DELETED, session("a", 8), 8))
    assert gone is not None
    assert gone.state is SessionState.DELETED


async def test_both_clients_wait_for_what_a_runner_reports(site: Site) -> None:
    made = await site.do(lambda client: client.create_session("dev1", default_spec()))
    async with AsyncClient(site.local) as client:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(client.wait("dev1", lambda session: session.generation > 1, 10))
            second = group.create_task(site.do(lambda sync: sync.wait("dev1", SessionState.STOPPED, 10)))
            await client.stop_session("dev1")
        assert first.result().uid == second.result().uid == made.uid
        with pytest.raises(TimedOut, match=r"session dev1\.root is still STOPPED after 0.05 s"):
            await client.wait("dev1", SessionState.RUNNING, 0.05)
    with pytest.raises(TimedOut, match=r"session dev1\.root is still STOPPED after 0.05 s"):
        await site.do(lambda sync: sync.wait("dev1", SessionState.RUNNING, 0.05))
