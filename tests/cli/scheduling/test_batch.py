"""`netvps create NAME NAME...`."""

from __future__ import annotations

import json

import pytest

from netvps import exit_codes
from netvps.cli.access.ssh_files import SshFiles
from netvps.domain.batch import NewSession
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import AlreadyExists, InvalidInput
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, put, session
from tests.fakes.keys import ed25519


@pytest.fixture(autouse=True)
def key(fake: FakeClient) -> None:
    """A key of this person is registered, and their ssh is left alone."""
    SshFiles().remove()
    fake.create_ssh_key(ed25519(1))
    fake.asked.clear()


def test_all_are_made_in_one_call_and_waited_for(run: Run, fake: FakeClient) -> None:
    fake.script = [put(session("a"), 2), put(session("b"), 3)]
    ran = run("create", "a", "b.alice", "--cpus", "2")
    assert (ran.code, ran.out) == (0, "a\nb\n")
    assert ran.err.splitlines()[-1] == "2 sessions run"
    spec = SessionSpec(cpus=2)
    assert fake.asked[0] == ("create_many", [NewSession("a", spec), NewSession("b", spec, "alice")])


def test_without_wait_they_are_printed_as_they_are(run: Run) -> None:
    ran = run("create", "a", "b", "--no-wait", "-o", "json")
    assert [one["state"] for one in json.loads(ran.out)] == ["SESSION_STATE_PENDING"] * 2


def test_one_that_fails_is_an_error_and_the_others_are_printed(run: Run, fake: FakeClient) -> None:
    fake.script = [put(session("a", SessionState.FAILED, message="no image"), 2), put(session("b"), 3)]
    ran = run("create", "a", "b")
    assert (ran.code, ran.out) == (exit_codes.CONFLICT, "b\n")
    assert "session a failed: no image" in ran.err


def test_a_refusal_names_the_session_or_the_option(run: Run, fake: FakeClient) -> None:
    fake.errors["create_many"] = AlreadyExists("requests[1]: session b exists already")
    ran = run("create", "a", "b")
    assert (ran.code, ran.out) == (exit_codes.CONFLICT, "")
    assert ran.err == "netvps: b: session b exists already; no session was made\n"
    fake.errors["create_many"] = InvalidInput.of("requests[0].spec.cpus", "9999 is too many")
    assert run("create", "a", "b").err == "netvps: --cpus: 9999 is too many\n"
    fake.errors["create_many"] = AlreadyExists("another request has this id")
    assert run("create", "a", "b").err == "netvps: another request has this id\n"


@pytest.mark.parametrize("words", [["--ssh"], ["--dry-run"], [f"n{number}" for number in range(100)]])
def test_what_several_cannot_have_is_refused(words: list[str], run: Run, fake: FakeClient) -> None:
    assert run("create", "a", "b", *words).code == exit_codes.USAGE
    assert fake.asked == []
