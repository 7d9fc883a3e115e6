"""`netvps events`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import Author, ChangeCause, DesiredState, LastExit, SessionState
from netvps.errors import TooOld, Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient, put, session

DONE = SessionEvent(EventType.CAUGHT_UP, None, 9)


@pytest.fixture
def server(fake: FakeClient) -> FakeClient:
    fake.sessions = {"dev1": session()}
    fake.script = [
        put(session("dev1", SessionState.PENDING), 2),
        put(session("db"), 3),
        put(session("dev1", SessionState.PREPARING, message="pulling debian:12"), 4),
        put(session("dev1", SessionState.PREPARING, message="pulling debian:12"), 5),
        put(session("dev1"), 6),
        DONE,
        put(session("dev1", SessionState.STOPPED), 10),
    ]
    return fake


def test_the_log_of_one_session_is_shown_up_to_now(run: Run, server: FakeClient) -> None:
    lines = run("events", "sessions/dev1").out.splitlines()
    assert [line.split()[3] for line in lines] == ["PENDING", "PREPARING", "RUNNING"]
    assert ("watch_sessions", "alice", 1) in server.asked
    first = json.loads(run("events", "dev1", "-o", "jsonl").out.splitlines()[0])
    assert first["session"]["name"] == "sessions/dev1.alice"


def test_it_goes_on_where_the_log_ended(run: Run, server: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    ran = run("events", "dev1", "-f")
    assert ran.out.splitlines()[-1].split()[3] == "STOPPED"
    assert ("watch_sessions", "alice", 9) in server.asked


def test_where_the_log_begins_later_the_session_is_sent_in_its_present_state(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.sessions = {"dev1": session()}

    def watch(_parent: str, revision: int) -> object:
        if revision:
            raise TooOld("compacted")
        yield put(session(), 5)
        yield DONE
        raise Unavailable("not asked for")

    monkeypatch.setattr(fake, "watch_sessions", watch)
    ran = run("events", "dev1")
    assert [line.split()[3] for line in ran.out.splitlines()] == ["RUNNING"]
    assert "earlier events are not in the server's log any more" in ran.err


def test_it_says_who_asked_for_what_and_how_the_container_ended(run: Run, fake: FakeClient) -> None:
    alice, bob = Author("alice", ChangeCause.PERSON), Author("bob", ChangeCause.LOGIN)
    idle, itself = Author("", ChangeCause.IDLE), Author("", ChangeCause.ENDED)

    def seen(number: int, state: SessionState, by: Author, **more: Any) -> SessionEvent:
        return put(session("dev1", state, generation=number, desired_by=by, **more), number)

    fake.sessions = {"dev1": session()}
    stopped = LastExit(0, "stopped", NOW, alice)
    fake.script = [
        seen(2, SessionState.RUNNING, alice),
        seen(3, SessionState.PAUSED, idle, desired=DesiredState.PAUSED),
        seen(4, SessionState.RUNNING, bob),
        seen(5, SessionState.STOPPING, alice, desired=DesiredState.STOPPED),
        put(session("dev1", SessionState.STOPPED, generation=5, desired_by=alice, last_exit=stopped), 6),
        seen(7, SessionState.STOPPED, itself, last_exit=LastExit(137, "oom", NOW), desired=DesiredState.STOPPED),
        replace(DONE, revision=9),
    ]
    words = [line.partition("[")[2] for line in run("events", "dev1").out.splitlines()]
    assert words == [
        "RUNNING asked by alice]",
        "PAUSED asked by idle]",
        "RUNNING asked by bob (login)]",
        "STOPPED asked by alice]",
        "stopped by alice]",
        "STOPPED asked by itself; out of memory (exit code 137)]",
    ]
