"""Progress on stderr."""

from __future__ import annotations

import sys

import pytest

from netvps.cli.progress import progress


def test_progress_moves_on_terminals_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as shown:
        shown.say("one")
        shown.say("one")
        shown.tick()
        shown.say("two\x1b[2J")
    assert capsys.readouterr().err == "one\ntwo\ufffd[2J\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as shown:
        shown.say("x" * 500)
        shown.keep("kept")
    written = capsys.readouterr().err
    assert max(len(line) for line in written.split("\r")) < 100
    assert written.endswith("\r\x1b[K")
    monkeypatch.setenv("NETVPS_ACCESSIBLE", "1")
    with progress() as shown:
        shown.say("plain")
    assert capsys.readouterr().err == "plain\n"
