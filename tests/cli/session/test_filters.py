"""Which sessions `netvps ls` prints, and in what order."""

from __future__ import annotations

from datetime import timedelta

import pytest

from netvps import exit_codes
from netvps.cli.session.filters import STATES, matches, wanted_labels
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient, session


@pytest.fixture
def three(fake: FakeClient) -> FakeClient:
    fake.sessions = {
        "a": session("a", create_time=NOW + timedelta(hours=1), spec=SessionSpec(labels={"team": "x"})),
        "b": session("b", SessionState.STOPPED, create_time=NOW, spec=SessionSpec(labels={"team": "y"})),
        "c": session("c", create_time=NOW - timedelta(hours=1)),
    }
    return fake


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], "a b c"),
        (["-l", "team=x"], "a"),
        (["-l", "team"], "a b"),
        (["--state", "running"], "a c"),
        (["--state", "STOPPED", "--state", "running"], "a b c"),
        (["--state", "running", "-l", "team"], "a"),
        (["--filter", "state=stopped"], "b"),
        (["--filter", "-labels.team:*"], "c"),
        (["--filter", "state=running", "-l", "team"], "a"),
        (["--sort", "age"], "c b a"),
        (["--sort", "state"], "a c b"),
        (["--sort", "state desc, age"], "b c a"),
        (["--filter", "labels.team=y OR name=c", "--sort", "name desc"], "c b"),
    ],
)
def test_filters_and_order(words: list[str], names: str, run: Run) -> None:
    assert run("ls", "-q", *words).out.split() == names.split()


@pytest.mark.usefixtures("three")
def test_what_is_wrong_is_reported(run: Run) -> None:
    assert "no sessions like that" in run("ls", "-l", "no=one").err
    ran = run("ls", "--state", "runing")
    assert (ran.code, "--state: 'runing' is not one of" in ran.err) == (exit_codes.USAGE, True)
    ran = run("ls", "--filter", "a team=x")
    assert "filter: column 3: there is no field 'team'" in ran.err
    ran = run("ls", "--watch", "--filter", "a team=x")
    assert "filter: column 3: there is no field 'team'" in ran.err
    assert "'=x' is not KEY or KEY=VALUE" in run("ls", "-l", "=x").err


def test_every_state_can_be_asked_for() -> None:
    assert [*STATES] == [state.lower() for state in SessionState if state is not SessionState.DELETED]


def test_a_label_without_a_value_is_any() -> None:
    labelled = session("a", spec=SessionSpec(labels={"k": "v"}))
    assert matches(labelled, wanted_labels(["k"]), ())
    assert not matches(labelled, wanted_labels(["k="]), ())
