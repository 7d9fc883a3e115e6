"""`netvps stop`, `start`, `restart` and `rm`."""

from __future__ import annotations

import io
import sys
from dataclasses import replace

import pytest

from netvps import exit_codes
from netvps.cli.session import lifecycle
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.errors import WrongState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session


class Terminal(io.StringIO):
    """A person has typed this."""

    def isatty(self) -> bool:
        return True


def stopped(name: str, **changes: object) -> SessionEvent:
    return put(
        session(
            name, SessionState.STOPPED, desired=DesiredState.STOPPED, generation=2, observed_generation=2, **changes
        ),
        7,
    )


def gone(name: str) -> SessionEvent:
    return SessionEvent(EventType.DELETED, session(name, desired=DesiredState.DELETED, revision=8), 8)


@pytest.fixture(autouse=True)
def sessions(fake: FakeClient) -> None:
    fake.sessions = {name: session(name) for name in ("dev1", "db")}


def test_stop_waits_until_it_is_stopped(run: Run, fake: FakeClient) -> None:
    snapshotting = session(
        "dev1", SessionState.SNAPSHOTTING, desired=DesiredState.STOPPED, generation=2, observed_generation=2
    )
    fake.script = [put(snapshotting, 6), stopped("dev1")]
    ran = run("stop", "dev1")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert ran.err.splitlines() == [
        "dev1 is RUNNING",
        "dev1 is SNAPSHOTTING",
        "session dev1 stopped; its files are kept",
    ]


def test_an_older_value_is_not_taken_for_news(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    early = replace(stopped("dev1", reason="snapshot_failed").session or session(), revision=4)
    events = [SessionEvent(EventType.PUT, early, 4), stopped("dev1")]
    monkeypatch.setattr(fake, "watch_sessions", lambda *_, **_how: (event for event in events))
    assert run("stop", "dev1").code == 0


def test_several_at_once_with_one_that_is_not_there(run: Run, fake: FakeClient) -> None:
    fake.script = [stopped("db"), stopped("dev1")]
    ran = run("stop", "dev1", "none", "db")
    assert ran.out == "dev1\ndb\n"
    assert ran.code == exit_codes.NOT_FOUND
    assert ran.err.splitlines()[-1] == "netvps: there is no session none"


def test_a_failed_snapshot_is_reported_and_is_an_error_only_for_who_waits_for_it(run: Run, fake: FakeClient) -> None:
    fake.script = [stopped("dev1", reason="snapshot_failed", message="no space left")]
    ran = run("stop", "dev1")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert "its snapshot failed: no space left; nothing is lost" in ran.err
    ran = run("stop", "dev1", "--wait-snapshot")
    assert ran.code == exit_codes.CONFLICT
    assert "its snapshot failed: no space left; nothing is lost" in ran.err
    ran = run("stop", "dev1", "--copies", "2")
    assert ran.code == exit_codes.CONFLICT
    assert "again, and `netvps snapshot create dev1 --copies 2` keeps its files on as many runners" in ran.err


def test_stop_waits_a_moment_for_the_snapshot_and_longer_if_asked(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_MOMENT", 0.3)
    pending, last = stopped("dev1", reason="snapshot_pending"), replace(stopped("dev1"), revision=8)
    fake.script = [pending]
    assert run("stop", "dev1").err.splitlines()[-1] == "session dev1 stopped; its files are kept, and are being copied"
    monkeypatch.setattr(lifecycle, "_MOMENT", 60.0)
    fake.script = [pending, last]
    assert run("stop", "dev1").err.splitlines()[-1] == "session dev1 stopped; its files are kept"
    assert run("stop", "dev1", "--wait-snapshot").err.splitlines()[-1] == "session dev1 stopped; its files are kept"
    fake.script = [pending]
    assert run("stop", "dev1", "--wait-snapshot", "--timeout", "1s").code == exit_codes.TIMEOUT


def test_wait_snapshot_needs_the_wait(run: Run, fake: FakeClient) -> None:
    assert run("stop", "dev1", "--wait-snapshot", "--no-wait").code == exit_codes.USAGE
    assert fake.asked == []


def test_start_and_no_wait(run: Run, fake: FakeClient) -> None:
    ran = run("start", "dev1", "--no-wait")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert fake.asked == [("start_session", "dev1")]


def test_rm_without_a_terminal_needs_yes_and_does_nothing(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("dev1\n"))
    ran = run("rm", "dev1")
    assert ran.code == exit_codes.USAGE
    assert "--yes" in ran.err
    assert fake.asked == []


def test_rm_takes_only_the_name_for_an_answer(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    ran = run("rm", "dev1")
    assert ran.code == exit_codes.CANCELLED
    assert "nothing was removed" in ran.err
    assert fake.asked == []


def test_rm_with_the_name_typed(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("dev1\n"))
    fake.script = [gone("dev1")]
    ran = run("rm", "dev1")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert ran.err.splitlines()[-1] == "session dev1 is gone"


def test_rm_of_several_asks_once_for_their_number(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("dev1\n"))
    refused = run("rm", "dev1", "db")
    assert (refused.code, fake.asked) == (exit_codes.CANCELLED, [])
    assert "sessions: dev1, db" in refused.err
    monkeypatch.setattr(sys, "stdin", Terminal("2\n"))
    fake.script = [gone("dev1"), gone("db")]
    assert run("rm", "dev1", "db", "dev1").out == "dev1\ndb\n"


def test_rm_yes_of_two_waits_for_both(run: Run, fake: FakeClient) -> None:
    fake.script = [gone("db"), gone("dev1")]
    ran = run("rm", "--yes", "dev1", "db")
    assert (ran.code, ran.out) == (0, "dev1\ndb\n")
    assert "1 of 2 done; dev1 is being removed, RUNNING" in ran.err


@pytest.fixture
def obedient(fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """A server whose sessions do at once as they are asked."""
    fake.sessions = {"dev1.alice": session("dev1"), "dev1": session("dev1"), "db": session("db")}

    def want(method: str, name: str, desired: DesiredState) -> Session:
        fake._ask(method, name)
        state = SessionState.RUNNING if desired is DesiredState.RUNNING else SessionState.STOPPED
        known = session(name.partition(".")[0])
        return replace(known, desired=desired, state=state, generation=2, observed_generation=2)

    monkeypatch.setattr(fake, "_want", want)
    return fake


def test_each_session_is_stopped_and_then_started(run: Run, obedient: FakeClient) -> None:
    ran = run("restart", "dev1", "db")
    assert (ran.code, ran.out) == (0, "dev1\ndb\n")
    assert obedient.asked == [
        ("stop_session", "dev1"), ("stop_session", "db"),
        ("start_session", "dev1.alice"), ("start_session", "db.alice"),
    ]  # fmt: skip
    assert "session dev1 runs" in ran.err


def test_one_that_cannot_be_stopped_is_reported_and_the_rest_restarts(run: Run, obedient: FakeClient) -> None:
    obedient.errors["start_session"] = WrongState("session dev1 is being deleted: wait until it is gone")
    ran = run("restart", "dev1")
    assert (ran.code, ran.out) == (exit_codes.CONFLICT, "")
