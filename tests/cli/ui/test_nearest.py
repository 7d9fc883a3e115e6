"""A name that the server does not know comes back with the nearest that it does."""

from __future__ import annotations

import pytest

from netvps import exit_codes
from netvps.errors import NotFound, Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session


def test_the_nearest_session_is_named(run: Run, fake: FakeClient) -> None:
    fake.sessions = {name: session(name) for name in ("dev1", "web")}
    fake.errors["get_session"] = NotFound("no session dve1.alice: see netvps ls")
    ran = run("show", "dve1")
    assert ran.code == exit_codes.NOT_FOUND
    assert ran.err == "netvps: no session dve1.alice: see netvps ls; did you mean dev1?\n"


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [("user", "alcie", "alice"), ("runner", "bxo1", "box1")],
)
def test_the_nearest_user_or_runner_is_named(kind: str, name: str, hint: str, run: Run, fake: FakeClient) -> None:
    message = f"no {kind} {name}: see netvps {kind} ls"
    fake.errors[f"delete_{kind}"] = NotFound(message)
    assert run(kind, "rm", name, "--yes").err == f"netvps: {message}; did you mean {hint}?\n"


def test_without_a_near_name_or_an_answer_the_error_stays_unchanged(run: Run, fake: FakeClient) -> None:
    fake.sessions = {"web": session("web")}
    fake.errors["get_session"] = NotFound("no session dev1.alice: see netvps ls")
    assert run("show", "dev1").err == "netvps: no session dev1.alice: see netvps ls\n"
    fake.errors["list_sessions"] = Unavailable("down")
    assert run("show", "dev1").err == "netvps: no session dev1.alice: see netvps ls\n"
    fake.errors["get_session"] = NotFound("no such thing")
    assert run("show", "dev1").err == "netvps: no such thing\n"
