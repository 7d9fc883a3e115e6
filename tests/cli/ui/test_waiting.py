"""The wait for sessions, and the ways it ends early."""

from __future__ import annotations

import pytest

from netvps import exit_codes
from netvps.cli.ui.waiting import require, until_settled
from netvps.domain.session.session import SessionState
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session
from tests.fakes.keys import ed25519


@pytest.fixture
def key(fake: FakeClient) -> None:
    fake.create_ssh_key(ed25519(1))
    fake.asked.clear()


@pytest.mark.usefixtures("key")
def test_a_timeout_names_its_flag_and_says_that_it_goes_on(run: Run, fake: FakeClient) -> None:
    fake.silent = True
    ran = run("create", "dev1", "--timeout", "0.2")
    fake.closed.set()
    assert ran.code == exit_codes.TIMEOUT
    assert "--timeout 0.2s is over and session dev1 is PENDING: waiting for a runner; it goes on" in ran.err


@pytest.mark.usefixtures("key")
def test_ctrl_c_while_waiting_says_what_goes_on(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("netvps.cli.ui.follow.Pump.next", interrupted)
    fake.silent = True
    ran = run("create", "dev1")
    fake.closed.set()
    assert ran.code == exit_codes.INTERRUPTED
    assert "stopped waiting; session dev1 is PENDING: waiting for a runner, and it goes on" in ran.err


@pytest.mark.usefixtures("key")
def test_a_server_that_went_away_is_not_the_end_of_the_wait(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    breaks = iter([Unavailable("restarting"), None])

    def watch(*_: object, **_how: object) -> object:
        if (error := next(breaks)) is not None:
            raise error
        yield put(session("dev1"), 3)

    monkeypatch.setattr(fake, "watch_sessions", watch)
    assert run("create", "dev1").code == 0


def test_what_is_at_rest_is_not_waited_for(fake: FakeClient) -> None:
    found = [session("dev1"), session("db", SessionState.FAILED)]
    assert until_settled(fake, found, 1.0) == found  # type: ignore[arg-type]  # a fake client
    assert fake.asked == []
    require(found[0], "dev1")
