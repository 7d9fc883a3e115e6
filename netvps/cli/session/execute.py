"""`netvps exec`: a command in a session over the API, with its input, output and exit code."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from netvps import exit_codes
from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION, UNIX_USER
from netvps.cli.ui.output import note
from netvps.domain.session.exec import ExecStart, Exit, Stderr, Stdout
from netvps.errors import TimedOut, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.exec import FromCommand


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option(
    "-u", "--user", type=UNIX_USER, default="root", metavar="USER", show_default=True, help="Unix user to run it as."
)
@click.option("-i", "--interactive", is_flag=True, expose_value=False, help="Give it input; always so, unless -n.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Give it a terminal.")
@click.option("-n", "--no-stdin", is_flag=True, help="Give it no input.")
@click.argument("name", type=SESSION)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def execute(name: str, command: tuple[str, ...], user: str, terminal: bool, no_stdin: bool) -> None:
    """Run a command in a running session, without a shell.

    The exit code is the command's, or 255 if the connection was lost.

    \b
    Examples: netvps exec dev1 -- ls -l /
              netvps exec -it dev1 bash
    """  # noqa: D301 — Click means the character
    from netvps.cli.ui.terminal_input import Input, raw, size

    if command[0] == "--":
        command = command[1:]
    if terminal and not sys.stdin.isatty():
        raise click.UsageError("-t needs a terminal, and standard input is none: leave -t out")
    start = ExecStart(name, command, user, size() if terminal else None, os.environ.get("TERM", "") if terminal else "")
    code: int | None = None
    lost = "the connection was lost before the command ended; it may go on"
    connection = client()
    with Input(None if no_stdin else sys.stdin.fileno()) as feed, raw(feed) if terminal else nullcontext():
        try:
            code = _copy(connection.exec(start, feed.messages()))
        except (Unavailable, TimedOut) as error:
            lost = str(error)
    if code is None:
        note(f"netvps: {lost}")
    click.get_current_context().exit(exit_codes.LOST_TRANSPORT if code is None else code)


def _copy(output: Iterator[FromCommand]) -> int | None:
    """Writes what comes to where it belongs; the exit code, or None if none came."""
    for message in output:
        match message:
            case Stdout(data):
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            case Stderr(data):
                sys.stderr.buffer.write(data)
                sys.stderr.buffer.flush()
            case Exit(code):
                return code
    return None
