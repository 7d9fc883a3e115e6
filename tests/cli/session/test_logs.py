"""`netvps logs`, and what of a log a terminal gets to see."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import pytest

from netvps import exit_codes
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_bytes_pass_as_they_are_into_a_pipe(run: Run, fake: FakeClient) -> None:
    fake.log = [b"one\n\x1b[2J", b"two\n"]
    assert run("logs", "dev1", "-f", "--tail", "5").out == "one\n\x1b[2Jtwo\n"
    assert fake.asked == [("read_logs", "dev1", 5, True, None)]


def test_a_terminal_gets_text_and_colour_only(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    fake.log = [b"\x1b[31mred\x1b[", b"0m \x1b]0;title\x07\x1b[2J\xe2\x82", b"\xac\n"]
    assert run("logs", "dev1").out == "\x1b[31mred\x1b[0m ]0;title[2J\N{EURO SIGN}\n"
    fake.log = [b"\x1b[2Jraw"]
    assert run("logs", "dev1", "--raw").out == "\x1b[2Jraw"


def test_since_is_a_time_ago_or_a_moment_and_takes_all_lines_of_it(run: Run, fake: FakeClient) -> None:
    before = datetime.now(UTC)
    assert run("logs", "dev1", "--since", "1d2h").code == 0
    (_, _, lines, _, since), *_ = fake.asked
    assert lines == 100_000
    assert before - timedelta(hours=26) <= since <= datetime.now(UTC) - timedelta(hours=26)
    assert run("logs", "dev1", "--since", "2026-01-31T12:00", "--tail", "3").code == 0
    assert fake.asked[1][2:] == (3, False, datetime(2026, 1, 31, 12).astimezone())


@pytest.mark.parametrize("typed", ["yesterday", "99999999999d", "2026-13-01"])
def test_what_is_no_time_is_refused(typed: str, run: Run, fake: FakeClient) -> None:
    ran = run("logs", "dev1", "--since", typed)
    assert (ran.code, fake.asked) == (exit_codes.USAGE, [])
    assert f"--since: '{typed}' is not a time: give for example 10m, 2h, 3d or 2026-01-31T12:00" in ran.err
