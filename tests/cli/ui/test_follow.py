"""Events read in a thread: what they are, and what ended them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from netvps.cli.ui.follow import pumped
from netvps.domain.names import SessionName
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Unavailable
from netvps.rpc.client.watching import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.session import Session
    from netvps.rpc.client.watching import WatchEvent

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(name: str, revision: int) -> Session:
    made = new_session(f"uid-{name}", SessionName("alice", name), SessionSpec(image="debian:12"), NOW)
    return replace(made, revision=revision)


def put(name: str, revision: int) -> SessionEvent:
    return SessionEvent(EventType.PUT, session(name, revision), revision)


class Script:
    """A client whose watch goes as written: events, then the error that ends it."""

    def __init__(self, *watch: Any) -> None:
        self._watch = watch

    def watch(self, _parent: str, _from_revision: int, **_how: object) -> Iterator[WatchEvent]:
        for item in self._watch:
            if isinstance(item, Exception):
                raise item
            yield item


def test_a_pump_passes_on_events_and_what_ended_them() -> None:
    client: Any = Script(Interrupted(Unavailable("broke")), put("a", 3), ValueError("a bug"))
    with pumped(client, "", 3) as pump:
        first = pump.next(5)
        assert first is not None
        assert first.revision == 3
        with pytest.raises(ValueError, match="a bug"):
            pump.next(5)
