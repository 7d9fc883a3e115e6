"""`netvps restart`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netvps import exit_codes
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.errors import WrongState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session


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
