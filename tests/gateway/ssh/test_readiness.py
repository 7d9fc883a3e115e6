from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.domain.session.session import DesiredState, SessionState
from netvps.gateway.ssh.readiness import reason_for_login, reason_not_ready
from netvps.services.access.logins import Grant, ref_to
from tests.gateway.conftest import a_session

EXPECTED = {
    SessionState.PENDING: "session dev1 is PENDING: try again in a moment",
    SessionState.PREPARING: "session dev1 is PREPARING: try again in a moment",
    SessionState.STARTING: "session dev1 is STARTING: try again in a moment",
    SessionState.RUNNING: None,
    SessionState.PAUSED: None,
    SessionState.STOPPING: "session dev1 is STOPPING: when it is STOPPED, start it with: netvps start dev1",
    SessionState.SNAPSHOTTING: "session dev1 is SNAPSHOTTING: when it is STOPPED, start it with: netvps start dev1",
    SessionState.STOPPED: "session dev1 is STOPPED: start it with: netvps start dev1",
    SessionState.FAILED: "session dev1 is FAILED: see why with: netvps show dev1",
    SessionState.UNREACHABLE: None,
    SessionState.DELETED: "session dev1 is DELETED: create it again with: netvps create dev1",
}


@pytest.mark.parametrize("state", SessionState)
def test_every_state_says_what_to_do(state: SessionState) -> None:
    assert reason_not_ready(Grant(ref_to(a_session(state)), "root", "alice")) == EXPECTED[state]


def test_others_than_the_owner_get_the_whole_name() -> None:
    stopped = a_session(SessionState.STOPPED)
    assert reason_not_ready(Grant(ref_to(stopped), "root", "admin")) == (
        "session dev1.alice is STOPPED: start it with: netvps start dev1.alice"
    )


@pytest.mark.parametrize("state", [SessionState.STOPPED, SessionState.STARTING, SessionState.PAUSED])
def test_watching_wakes_nothing(state: SessionState) -> None:
    wanted = {SessionState.STOPPED: DesiredState.STOPPED, SessionState.PAUSED: DesiredState.PAUSED}
    session = replace(a_session(state), desired=wanted.get(state, DesiredState.RUNNING))
    reason = reason_for_login(Grant(ref_to(session), ".watch", "alice"), asked=False)
    assert reason == f"session dev1 is {state}: there is no terminal to watch"
