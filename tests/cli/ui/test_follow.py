"""Events over breaks: nothing is missed, nothing hangs, and no loop is endless."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from netvps.cli.ui.follow import pumped, resumed
from netvps.domain.names import SessionName
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import SessionSpec
from netvps.errors import TooOld, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.session import Session

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(name: str, revision: int) -> Session:
    made = new_session(f"uid-{name}", SessionName("alice", name), SessionSpec(image="debian:12"), NOW)
    return replace(made, revision=revision)


def put(name: str, revision: int) -> SessionEvent:
    return SessionEvent(EventType.PUT, session(name, revision), revision)


def caught_up(revision: int) -> SessionEvent:
    return SessionEvent(EventType.CAUGHT_UP, None, revision)


class Script:
    """A client whose watches go as written: events, then the error that ends the watch; the last goes on for ever."""

    def __init__(self, *watches: list[Any]) -> None:
        self._watches = list(watches)
        self.asked: list[int] = []

    def watch_sessions(self, _parent: str, from_revision: int) -> Iterator[SessionEvent]:
        self.asked.append(from_revision)
        for item in self._watches.pop(0) if len(self._watches) > 1 else self._watches[0]:
            if isinstance(item, Exception):
                raise item
            yield item


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event on which a wait takes no time."""
    event = threading.Event()
    monkeypatch.setattr(event, "wait", lambda _timeout: event.is_set())
    return event


def told(events: Iterator[SessionEvent], count: int) -> list[str]:
    found = []
    for _ in range(count):
        event = next(events)
        found.append(f"{event.type} {event.session.name if event.session else ''}".strip())
    return found


def test_a_list_that_broke_off_is_begun_again_not_resumed_in_its_middle(closed: threading.Event) -> None:
    client: Any = Script([put("a", 90), Unavailable("broke")], [put("a", 90), put("b", 5), caught_up(95), put("b", 96)])
    events = resumed(client, "", 0, closed)
    assert told(events, 5) == ["PUT a", "PUT a", "PUT b", "CAUGHT_UP", "PUT b"]
    assert client.asked == [0, 0]


def test_a_break_after_the_list_is_resumed_at_its_revision(closed: threading.Event) -> None:
    client: Any = Script([put("a", 9), caught_up(95), Unavailable("broke")], [caught_up(95), put("a", 96)])
    assert told(resumed(client, "", 0, closed), 4) == ["PUT a", "CAUGHT_UP", "CAUGHT_UP", "PUT a"]
    assert client.asked == [0, 95]


def test_what_is_gone_when_the_list_comes_again_is_told(closed: threading.Event) -> None:
    client: Any = Script(
        [put("a", 3), put("b", 4), caught_up(5), TooOld("the reader fell behind")],
        [put("b", 4), put("new", 50), caught_up(60), put("b", 61)],
    )
    events = resumed(client, "", 0, closed, known=[session("waited-for", 4), session("later", 100)])
    first = ["PUT a", "PUT b", "DELETED waited-for", "CAUGHT_UP"]
    assert told(events, 9) == [*first, "PUT b", "PUT new", "DELETED a", "CAUGHT_UP", "PUT b"]


def test_a_list_that_never_comes_to_its_end_is_given_up(closed: threading.Event) -> None:
    client: Any = Script([put("a", 3), TooOld("the reader fell 1024 changes behind")])
    with pytest.raises(Unavailable, match=r"changes come faster than they can be read here .*1024 changes behind"):
        list(resumed(client, "", 0, closed))
    assert client.asked == [0] * 8


def test_a_server_that_is_away_is_given_up(closed: threading.Event) -> None:
    client: Any = Script([Unavailable("no netvps server answers")])
    with pytest.raises(Unavailable, match="no netvps server answers"):
        list(resumed(client, "", 7, closed))
    assert client.asked == [7] * 8


def test_a_pump_passes_on_events_and_what_ended_them() -> None:
    client: Any = Script([put("a", 3), ValueError("a bug")])
    with pumped(client, "", 3) as pump:
        first = pump.next(5)
        assert first is not None
        assert first.revision == 3
        with pytest.raises(ValueError, match="a bug"):
            pump.next(5)
