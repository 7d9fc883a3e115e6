"""Which session a command is for, where the person does not say."""

from __future__ import annotations

import io
import sys

import pytest

from netvps import exit_codes
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session
from tests.cli.session.conftest import Became


class Terminal(io.StringIO):
    """A person types there."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def two(fake: FakeClient) -> FakeClient:
    fake.sessions = {name: session(name) for name in ("dev1", "web")}
    return fake


def test_the_only_session_is_taken(run: Run, fake: FakeClient, became: list[list[str]]) -> None:
    fake.sessions = {"dev1": session()}
    with pytest.raises(Became):
        run("ssh")
    assert became[0][-2:] == ["dev1", "127.0.0.1"]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("answer", ["2\n", "web\n"])
def test_on_a_terminal_one_is_picked(
    answer: str, run: Run, became: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with pytest.raises(Became):
        run("ssh")
    assert became[0][-2:] == ["web", "127.0.0.1"]


@pytest.mark.usefixtures("two")
def test_another_answer_is_refused(run: Run, became: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("3\n"))
    ran = run("ssh")
    assert (ran.code, became) == (exit_codes.USAGE, [])
    assert "'3' is not in the list: give a number from 1 to 2" in ran.err
    assert "2  web   RUNNING" in ran.err


@pytest.mark.usefixtures("two")
def test_without_a_terminal_a_name_is_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ran = run("ssh")
    assert ran.code == exit_codes.USAGE
    assert "you have several sessions (dev1, web): name one, for example `netvps ssh dev1`" in ran.err


@pytest.mark.usefixtures("fake")
def test_without_a_session_it_says_how_to_make_one(run: Run) -> None:
    ran = run("ssh")
    assert (ran.code, ran.err) == (exit_codes.NOT_FOUND, "netvps: you have no session yet: `netvps create` makes one\n")
