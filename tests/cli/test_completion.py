"""Completion in a shell."""

from __future__ import annotations

import pytest

from netvps.cli.completion_words import complete_session
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_our_program(shell: str, run: Run) -> None:
    assert "_NETVPS_COMPLETE" in run("completion", shell).out


def test_names_are_completed_and_trouble_is_silent(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete_session.__module__ == "netvps.cli.completion_words"
    fake.sessions = {name: session(name) for name in ("dev1", "dev2", "db")}
    monkeypatch.setenv("COMP_WORDS", "netvps show de")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_NETVPS_COMPLETE", "bash_complete")
    assert run().out == "plain,dev1\nplain,dev2\n"
    fake.errors["list_sessions"] = Unavailable("down")
    assert run().out.strip() == ""
