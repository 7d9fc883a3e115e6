"""Names as they are printed are names as they are typed, and no argument is empty by accident."""

from __future__ import annotations

import click
import pytest

from netvps import exit_codes
from netvps.cli.ui.arguments import RUNNER, SESSION, USER, refuse_empty
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session


@pytest.mark.parametrize(
    ("kind", "typed", "name"),
    [
        (SESSION, "sessions/dev1.alice", "dev1.alice"),
        (SESSION, "dev1", "dev1"),
        (USER, "users/alice", "alice"),
        (USER, "me", "me"),
        (RUNNER, "runners/box1", "box1"),
    ],
)
def test_a_printed_name_is_taken(kind: click.ParamType[str], typed: str, name: str) -> None:
    assert kind.convert(typed, None, None) == name


@pytest.mark.parametrize(("kind", "typed"), [(SESSION, "Dev 1"), (SESSION, "dev1."), (USER, "-x"), (RUNNER, "a/b")])
def test_what_cannot_be_a_name_is_refused_before_the_server_is_asked(kind: click.ParamType[str], typed: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a name: use 1 to"):
        kind.convert(typed, None, None)


def test_names_of_the_json_are_taken_by_commands(run: Run, fake: FakeClient) -> None:
    fake.sessions = {"dev1.alice": session()}
    assert run("show", "sessions/dev1.alice", "-o", "name").out == "dev1.alice\n"
    assert run("runner", "show", "runners/box1", "-o", "name").out == "box1\n"
    assert run("user", "rm", "users/bob", "--yes").out == "bob\n"


def test_names_of_keys_are_taken_with_their_user(run: Run, fake: FakeClient) -> None:
    assert run("key", "rm", "users/bob/sshKeys/key-uid").code == 0
    assert run("user", "api-key", "revoke", "users/bob/apiKeys/0123").out == "0123\n"
    assert fake.asked == [("delete_ssh_key", "key-uid", "bob"), ("delete_api_key", "bob/0123")]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["create", ""], "NAME"),
        (["create", "--image", ""], "--image"),
        (["create", "--memory", ""], "--memory"),
        (["create", "--owner="], "--owner"),
        (["stop", "dev1", ""], "NAME"),
        (["ls", "--owner", ""], "--owner"),
        (["runner", "show", ""], "NAME"),
        (["user", "add", ""], "NAME"),
        (["restore", ""], "FILE"),
        (["up", "--listen", ""], "--listen"),
    ],
)
def test_an_empty_argument_is_an_error_that_names_it(words: list[str], named: str, run: Run, fake: FakeClient) -> None:
    ran = run(*words)
    assert (ran.code, fake.asked) == (exit_codes.USAGE, [])
    assert ran.err.startswith(f"netvps: {named}: ")
    assert "empty" in ran.err


def test_words_for_another_program_may_be_empty() -> None:
    taken: list[tuple[str, ...]] = []

    @click.command("x")
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        taken.append(words)

    refuse_empty(refuse_empty(command)).main(["a", ""], standalone_mode=False)
    assert taken == [("a", "")]
