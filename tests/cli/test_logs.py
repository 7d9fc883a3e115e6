"""`netvps logs`, and what of a log a terminal gets to see."""

from __future__ import annotations

import sys

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_bytes_pass_as_they_are_into_a_pipe(run: Run, fake: FakeClient) -> None:
    fake.log = [b"one\n\x1b[2J", b"two\n"]
    assert run("logs", "dev1", "-f", "--tail", "5").out == "one\n\x1b[2Jtwo\n"
    assert fake.asked == [("read_logs", "dev1", 5, True)]


def test_a_terminal_gets_text_and_colour_only(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fake.log = [b"\x1b[31mred\x1b[", b"0m \x1b]0;title\x07\x1b[2J\xe2\x82", b"\xac\n"]
    assert run("logs", "dev1").out == "\x1b[31mred\x1b[0m ]0;title[2J\N{EURO SIGN}\n"
    fake.log = [b"\x1b[2Jraw"]
    assert run("logs", "dev1", "--raw").out == "\x1b[2Jraw"
