"""Starts the terminal UI, on a terminal of this machine, over ssh, or for a page in a browser."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

from netvps.client import Endpoint
from netvps.errors import ConfigError
from netvps_tui.app import NetvpsApp
from netvps_tui.connect import HandOver, Place, SuspendAndSsh

if TYPE_CHECKING:
    from netvps_tui.connect import Connect

_DUMB: Final = {"dumb", "unknown", ""}


def run(
    endpoint: Endpoint,
    *,
    connect: Connect | None = None,
    read_only: bool = False,
    title: str = "",
    place: Place | None = None,
) -> HandOver | None:
    """Runs the terminal UI on this process's stdin and stderr until the person leaves it.

    `endpoint` is the server, with the credential of the person. `title` names it on the screen, for example by the
    context. `read_only` leaves out whatever changes something. `connect` is what `s` does:

    - SuspendAndSsh (the default), on a terminal of this machine;
    - HandOverTerminal, over ssh and in browsers: `run` returns a HandOver when a session is to get the terminal. The
      caller connects the two, and afterwards calls `run(…, place=hand_over.place)`, which is back on the same row.

    A driver of Textual's for another kind of terminal is chosen by TEXTUAL_DRIVER, as for all programs of Textual.
    Returns None when the person quits. Raises ConfigError where the standard streams are no terminal that can show it.
    """
    if not os.environ.get("TEXTUAL_DRIVER"):
        require_terminal()
    app = NetvpsApp(endpoint, connect or SuspendAndSsh(), read_only=read_only, title=title, place=place or Place())
    return app.run()


class _Rehearsal(NetvpsApp):
    """The app without a server: gRPC's threads would not survive a fork."""

    def begin(self) -> None:
        """Connects to nothing."""


def rehearse() -> None:
    """Starts and ends the app without a terminal: a process that is forked afterwards has what it parsed and cached.

    That is half of the CPU time of a start. It leaves no thread behind.
    """

    async def start() -> None:
        app = _Rehearsal(Endpoint("unix:/nowhere"), SuspendAndSsh(), read_only=False, title="", place=Place())
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("question_mark")
            await pilot.pause()

    asyncio.run(start())


def require_terminal() -> None:
    """Raises ConfigError if the standard streams are no terminal that can show the UI."""
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "the terminal UI needs a terminal, and standard input or output is none: run it without pipes, or use"
            " `netvps ls` and `netvps watch`"
        )
    if os.environ.get("TERM", "") in _DUMB:
        raise ConfigError(
            f"the terminal UI cannot draw on a terminal of type {os.environ.get('TERM', '')!r}: set TERM to what it is,"
            " for example TERM=xterm-256color, or use `netvps ls` and `netvps watch`"
        )
