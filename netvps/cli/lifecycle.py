"""`netvps stop`, `start` and `rm`: what is wanted of sessions, and the wait until it is so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from netvps.cli.completion_words import complete_session
from netvps.cli.connect import client
from netvps.cli.output import emit, note
from netvps.cli.parse import DURATION
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netvps.domain.session import Session
    from netvps.rpc.client import Client

_names = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_session)
_wait = click.option("--wait/--no-wait", default=True, help="Wait until it is done (the default).")
_timeout = click.option("--timeout", type=DURATION, default=600.0, show_default="10m", help="How long to wait.")


@click.command("stop")
@_names
@_wait
@_timeout
def stop(names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Stop sessions; a snapshot keeps their files.

    Example: netvps stop dev1
    """
    connection = client()
    _all(connection, names, connection.stop_session, wait=wait, timeout=timeout, done="stopped; its files are kept")


@click.command("start")
@_names
@_wait
@_timeout
def start(names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Start stopped sessions again, or retry failed ones.

    Example: netvps start dev1
    """
    connection = client()
    _all(connection, names, connection.start_session, wait=wait, timeout=timeout, done="runs")


@click.command("rm")
@_names
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_wait
@_timeout
def rm(names: tuple[str, ...], yes: bool, wait: bool, timeout: float) -> None:
    """Remove sessions with their files and snapshots, for ever.

    Asks for the name, unless --yes is given.

    Example: netvps rm dev1
    """
    if not yes:
        confirm(names, "session", "removes its files and snapshots for ever")
    connection = client()
    _all(connection, names, connection.delete_session, wait=wait, timeout=timeout, done="is gone")


def confirm(names: Sequence[str], noun: str, consequence: str) -> None:
    """Asks to type each name. Raises a usage error where nobody can answer, and Abort for a wrong answer."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"this {consequence}: confirm with --yes where nobody can be asked")
    for name in names:
        typed = click.prompt(
            f"This {consequence}. Type the name of the {noun} ({name})", default="", show_default=False, err=True
        )
        if typed != name:
            note(f"that is not {name!r}; nothing was removed")
            raise click.Abort


def _all(
    connection: Client, names: Sequence[str], ask: Callable[[str], Session], *, wait: bool, timeout: float, done: str
) -> None:
    """Asks it of every session, whatever becomes of the others, then waits. The last error decides the exit code."""
    asked: dict[str, Session] = {}
    errors: list[NetvpsError] = []
    for name in dict.fromkeys(names):
        try:
            asked[name] = ask(name)
        except NetvpsError as error:
            errors.append(error)
    if wait and asked:
        errors += _await(connection, asked, timeout, done)
    for name in () if wait else asked:
        emit(name)
        note(f"session {name}: asked for; `netvps watch` shows how it gets on")
    for further in errors[:-1]:
        note(f"netvps: {further}")
    if errors:
        raise errors[-1]


def _await(connection: Client, asked: dict[str, Session], timeout: float, done: str) -> list[NetvpsError]:
    from netvps.cli.waiting import require, until_settled

    errors: list[NetvpsError] = []
    for name, session in zip(asked, until_settled(connection, list(asked.values()), timeout), strict=True):
        try:
            require(session, name)
        except NetvpsError as error:
            errors.append(error)
        else:
            emit(name)
            note(f"session {name} {done}")
    return errors
