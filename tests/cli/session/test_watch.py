"""`netvps watch`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from netvps import exit_codes
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import SessionState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)


def test_a_line_for_each_event(run: Run, fake: FakeClient) -> None:
    fake.script = [
        put(session("dev1", SessionState.PREPARING, message="pulling\x1b[2J"), 2),
        SessionEvent(EventType.CAUGHT_UP, None, 2),
        SessionEvent(EventType.DELETED, session("db"), 3),
    ]
    ran = run("watch")
    lines = [line.split()[2:] for line in ran.out.splitlines()]
    assert lines[:2] == [["dev1", "PREPARING", "pulling\ufffd[2J"], ["db", "DELETED"]]
    assert ran.code == exit_codes.UNAVAILABLE


def test_a_change_is_shown_with_the_time_of_the_change(run: Run, fake: FakeClient) -> None:
    fake.script = [put(session("dev1"), 2)]
    then = session("dev1").update_time.astimezone()
    assert run("watch").out.startswith(f"{then:%Y-%m-%d %H:%M:%S}  dev1")
    now = datetime.now(UTC)
    fake.script = [put(session("dev1", update_time=now), 2)]
    assert run("watch").out.startswith(f"{now.astimezone():%H:%M:%S}  dev1")


def test_jsonl_is_that_of_the_proto(run: Run, fake: FakeClient) -> None:
    fake.script = [put(session("dev1"), 2), SessionEvent(EventType.CAUGHT_UP, None, 2)]
    first, second, *_ = [json.loads(line) for line in run("watch", "-o", "jsonl", "--all").out.splitlines()]
    assert (first["type"], first["session"]["name"]) == ("WATCH_EVENT_TYPE_PUT", "sessions/dev1.alice")
    assert second == {"type": "WATCH_EVENT_TYPE_CAUGHT_UP", "revision": "2"}
    assert fake.asked[0] == ("watch_sessions", "-", 0)
