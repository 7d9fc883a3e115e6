"""`netvps wait`."""

from __future__ import annotations

import pytest

from netvps import exit_codes
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import DesiredState, SessionState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session


@pytest.fixture(autouse=True)
def sessions(fake: FakeClient) -> None:
    fake.sessions = {"a": session("a", SessionState.PENDING, observed_generation=0), "b": session("b")}


def test_it_waits_for_all_and_changes_nothing(run: Run, fake: FakeClient) -> None:
    fake.script = [put(session("a"), 2)]
    ran = run("wait", "a", "b", "a")
    assert (ran.code, ran.out) == (0, "a\nb\n")
    assert ran.err.splitlines()[-2:] == ["session a is running", "session b is running"]
    assert {call for call, *_ in fake.asked} == {"get_session", "watch_sessions"}


def test_one_that_failed_or_was_removed_is_an_error_and_the_others_are_waited_for(run: Run, fake: FakeClient) -> None:
    failed = session("a", SessionState.FAILED, reason="image", message="there is no image x")
    fake.script = [put(failed, 2), SessionEvent(EventType.DELETED, session("b"), 3)]
    fake.sessions["b"] = session("b", SessionState.STARTING, observed_generation=0)
    fake.sessions["c"] = session("c")
    ran = run("wait", "a", "b", "c", "none")
    assert (ran.code, ran.out) == (exit_codes.NOT_FOUND, "c\n")
    assert "session a failed: there is no image x" in ran.err
    assert "session b was removed meanwhile" in ran.err
    assert "there is no session none" in ran.err


def test_a_stop_that_another_program_asks_for(run: Run, fake: FakeClient) -> None:
    stopped = session("b", SessionState.STOPPED, desired=DesiredState.STOPPED, generation=2, observed_generation=2)
    fake.script = [put(stopped, 7)]
    assert run("wait", "b", "--for", "stopped").out == "b\n"


def test_what_is_gone_is_gone_already_or_will_be(run: Run, fake: FakeClient) -> None:
    fake.sessions["a"] = session("a", SessionState.FAILED)  # no reason to give up: it is removed
    fake.script = [SessionEvent(EventType.DELETED, session("a"), 8)]
    ran = run("wait", "none", "a", "--for", "gone")
    assert (ran.code, ran.out) == (0, "none\na\n")


def test_the_time_is_over(run: Run, fake: FakeClient) -> None:
    fake.silent = True
    ran = run("wait", "a", "--timeout", "0.1s")
    assert ran.code == exit_codes.TIMEOUT
    assert "session a is PENDING" in ran.err
