"""Completion in a shell."""

from __future__ import annotations

import pytest

from netvps.cli.help.completion import complete_session
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session
from tests.fakes.keys import ed25519


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_our_program(shell: str, run: Run) -> None:
    assert "_NETVPS_COMPLETE" in run("completion", shell).out


def test_names_are_completed_and_errors_are_silent(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete_session.__module__ == "netvps.cli.help.completion"
    fake.sessions = {name: session(name) for name in ("dev1", "dev2", "db")}
    monkeypatch.setenv("COMP_WORDS", "netvps show de")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_NETVPS_COMPLETE", "bash_complete")
    assert run().out == "plain,dev1\nplain,dev2\n"
    fake.errors["list_sessions"] = Unavailable("down")
    assert run().out.strip() == ""


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("netvps user rm al", "alice"),
        ("netvps runner show b", "box1"),
        ("netvps context use lo", "local"),
        ("netvps --context lo", "local"),
        ("netvps create --owner a", "alice"),
        ("netvps up --overlay-fast-path o", "off"),
        ("netvps server --ssh-po", "--ssh-port"),
        ("netvps help exit", "exit-codes"),
    ],
)
def test_users_runners_contexts_and_flags_are_completed(
    words: str, completed: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    monkeypatch.setenv("_NETVPS_COMPLETE", "bash_complete")
    assert run().out == f"plain,{completed}\n"


def test_keys_are_completed(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key = fake.create_ssh_key(ed25519(1))
    monkeypatch.setenv("COMP_WORDS", "netvps key rm SHA")
    monkeypatch.setenv("COMP_CWORD", "3")
    monkeypatch.setenv("_NETVPS_COMPLETE", "bash_complete")
    assert run().out == f"plain,{key.fingerprint}\n"
