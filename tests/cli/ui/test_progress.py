"""Progress on stderr."""

from __future__ import annotations

import sys

import pytest

from netvps.cli.ui.progress import progress, with_bar


def test_progress_moves_on_terminals_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as shown:
        shown.show("one")
        shown.show("one")
        shown.tick()
        shown.show("two\x1b[2J")
    assert capsys.readouterr().err == "one\ntwo\ufffd[2J\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as shown:
        shown.show("x" * 500)
        shown.print("kept")
    written = capsys.readouterr().err
    assert max(len(line) for line in written.split("\r")) < 100
    assert written.endswith("\r\x1b[K")
    monkeypatch.setenv("NETVPS_ACCESSIBLE", "1")
    with progress() as shown:
        shown.show("plain")
    assert capsys.readouterr().err == "plain\n"


@pytest.mark.parametrize(
    ("text", "bar"),
    [
        ("pulling debian:12: 30 MB of 120 MB", " [#####...............] 25%"),
        ("copying: 7 GB of 7 GB", " [####################] 100%"),
        ("pulling debian:12: 9 MB of 8 MB", " [####################] 100%"),
        ("pulling debian:12", ""),
        ("0 MB of 0 MB", ""),
    ],
)
def test_a_transfer_that_counts_bytes_has_a_bar(text: str, bar: str) -> None:
    assert with_bar(text) == text + bar
