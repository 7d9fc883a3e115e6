"""What `s` does: the ways into a session, by where the terminal UI runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from textual.app import App

_SHORT: Final = 3.0
"""Seconds; a command that fails sooner than this has left an error that is to be read."""

_OWN_ERRORS: Final = {*range(1, 11), 255}
"""Exit codes of `netvps` and of ssh; a shell that ends with another one has said what it had to say."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person was: the page, and the session under the cursor, by uid."""

    page: str = "sessions"
    uid: str = ""


@dataclass(frozen=True, slots=True)
class HandOver:
    """What `run` returns when its terminal is to be given to a session; afterwards, run it again at `place`."""

    name: str
    """NAME.OWNER of the session."""
    place: Place


class Connect(Protocol):
    """A way into sessions."""

    def ssh(self, app: App[Any], name: str, place: Place) -> None:
        """Brings the person into the session; returns when they are back, or at once."""

    def forward(self, app: App[Any], name: str, ports: Sequence[str]) -> None:
        """Makes ports (PORT or LOCAL:REMOTE) of a session reachable, or says how."""


class SuspendAndSsh:
    """On a terminal of this machine: the screen is left, `netvps ssh NAME` runs, and the same row is back after it."""

    def __init__(self, command: Sequence[str] = ("netvps",)) -> None:
        """`command` begins every command line: the program, and the context that it is to use."""
        self._command = tuple(command)

    def ssh(self, app: App[Any], name: str, place: Place) -> None:
        """Runs ssh to the end."""
        self._run(app, "ssh", name)

    def forward(self, app: App[Any], name: str, ports: Sequence[str]) -> None:
        """Runs `netvps forward` until Ctrl-C."""
        self._run(app, "forward", name, *ports)

    def _run(self, app: App[Any], *words: str) -> None:
        if (problem := run_outside(app, [*self._command, *words])) is not None:
            app.notify(problem, severity="error", markup=False)


class HandOverTerminal:
    """Over ssh and in browsers: the UI ends with a HandOver, and whoever called `run` gives a session the terminal."""

    def ssh(self, app: App[Any], name: str, place: Place) -> None:
        """Ends the UI for now."""
        app.exit(HandOver(name, place))

    def forward(self, app: App[Any], name: str, ports: Sequence[str]) -> None:
        """Ports are forwarded by a command on the person's machine."""
        app.notify(f"run on your machine: netvps forward {name} {' '.join(ports)}", markup=False)


def run_outside(app: App[Any], argv: Sequence[str]) -> str | None:
    """Runs a command in place of the screen, and brings the screen back; None, or why it could not run.

    The one user of App.suspend: that must not be left by an exception, and while it lasts nothing may be awaited, as
    the app would draw on a terminal that it does not own. So the event loop waits for the command; the watch of
    sessions resumes by itself after that.
    """
    problem: str | None = None
    with app.suspend(), _deaf_to_interrupts():
        try:
            begun = time.monotonic()
            code = subprocess.run(list(argv), check=False).returncode
            if code in _OWN_ERRORS and time.monotonic() - begun < _SHORT:
                _wait_for_enter()
        except OSError as error:
            problem = f"cannot run {argv[0]}: {error.strerror}; install netvps in this environment, or put it on PATH"
    return problem


def _wait_for_enter() -> None:
    sys.__stderr__ and print("\nEnter leads back", file=sys.__stderr__, flush=True)
    with suppress(OSError, EOFError):
        sys.__stdin__ and sys.__stdin__.readline()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Ctrl-C is for the command. A handler, unlike SIG_IGN, is not inherited by it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
