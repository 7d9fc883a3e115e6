"""`netvps ls --watch`."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from netvps import exit_codes
from netvps.cli.session.live_list import LiveList
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import Session, SessionState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session

DONE = SessionEvent(EventType.CAUGHT_UP, None, 2)


def test_nothing_is_printed_before_the_list_is_whole() -> None:
    seen: list[list[str]] = []

    def show(sessions: Iterable[Session]) -> None:
        seen.append([one.name for one in sessions])

    live = LiveList(show)
    assert not live.apply(put(session("a"), 1))
    assert live.apply(DONE)
    assert live.apply(put(session("b"), 3))
    live.print()
    assert live.apply(SessionEvent(EventType.DELETED, session("a"), 4))
    live.print()
    assert seen == [["a", "b"], ["b"]]


def test_the_list_is_printed_with_its_changes(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    fake.script = [put(session("dev1", SessionState.STARTING), 1), DONE, put(session("dev1"), 3)]
    ran = run("ls", "--watch")
    assert ran.code == exit_codes.UNAVAILABLE
    assert ran.out.rstrip().splitlines()[-1].split()[:2] == ["dev1", "RUNNING"]


@pytest.mark.usefixtures("fake")
def test_it_is_for_people(run: Run) -> None:
    ran = run("ls", "--watch", "-o", "json")
    assert (ran.code, "netvps watch -o jsonl" in ran.err) == (exit_codes.USAGE, True)
