"""`netvps exec`: input, output and exit codes."""

from __future__ import annotations

import os
import pty
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress

import pytest

from netvps import exit_codes
from netvps.cli.ui.terminal_input import Input, raw
from netvps.domain.session.exec import ExecStart, Exit, Stderr, Stdin, StdinEof, Stdout, TerminalSize
from netvps.errors import NotFound, Unavailable, WrongState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The writing end of what is stdin."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing
    with suppress(OSError):  # the test closed it
        os.close(writing)


def test_output_and_code_pass(run: Run, fake: FakeClient) -> None:
    fake.output = [Stdout(b"one\n"), Stderr(b"two\n"), Exit(137, "KILL")]
    ran = run("exec", "-n", "-u", "bob", "dev1", "--", "ls", "-l")
    assert (ran.code, ran.out, ran.err) == (137, "one\n", "two\n")
    assert fake.asked == [("exec", ExecStart("dev1", ("ls", "-l"), "bob"))]
    assert fake.fed == [StdinEof()]


def test_options_of_the_command_are_its_own(run: Run, fake: FakeClient) -> None:
    run("exec", "-n", "dev1", "ls", "-n", "--help")
    assert fake.asked == [("exec", ExecStart("dev1", ("ls", "-n", "--help")))]


def test_what_is_piped_in_arrives_with_its_end(run: Run, fake: FakeClient, pipe: int) -> None:
    os.write(pipe, b"hello")
    os.close(pipe)
    assert run("exec", "dev1", "cat").code == 0
    assert fake.fed == [Stdin(b"hello"), StdinEof()]


@pytest.mark.parametrize("output", [[], [Stdout(b"half")]])
def test_a_lost_transport_is_255(output: list[Stdout], run: Run, fake: FakeClient) -> None:
    fake.output = output
    ran = run("exec", "-n", "dev1", "true")
    assert ran.code == exit_codes.LOST_TRANSPORT
    assert "the connection was lost" in ran.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(Unavailable("gone"), 255), (NotFound("there is no session dev1"), 3), (WrongState("it is stopped"), 5)],
)
def test_errors(error: Exception, code: int, run: Run, fake: FakeClient) -> None:
    fake.errors["exec"] = error
    ran = run("exec", "-n", "dev1", "true")
    assert (ran.code, ran.err) == (code, f"netvps: {error}\n")


@pytest.mark.usefixtures("pipe")
def test_a_terminal_needs_one_here(run: Run, fake: FakeClient) -> None:
    assert run("exec", "-t", "dev1", "bash").code == exit_codes.USAGE
    assert fake.asked == []


def test_a_terminal_is_raw_for_the_command_and_as_before_after_it(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "rb", buffering=0) as terminal:
        before = termios.tcgetattr(slave)
        monkeypatch.setattr(sys, "stdin", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setenv("LINES", "30")
        with Input(slave) as feed, raw(feed):
            assert not termios.tcgetattr(slave)[3] & termios.ECHO
            os.write(master, b"\x03")
            messages = feed.messages()
            assert next(messages) == Stdin(b"\x03")
            os.kill(os.getpid(), signal.SIGWINCH)
            assert next(messages) == TerminalSize(100, 30)
        assert list(messages) == []
        assert termios.tcgetattr(slave) == before
        os.write(master, b"\x04")
        fake.output = [Exit(0)]
        fake.heeds_input = False
        assert run("exec", "-t", "dev1", "bash").code == 0
    assert fake.asked == [("exec", ExecStart("dev1", ("bash",), "root", TerminalSize(100, 30), "xterm"))]
    os.close(master)
