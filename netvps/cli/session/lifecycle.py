"""`netvps stop`, `start`, `restart` and `rm`: what is wanted of sessions, and the wait until it is so."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client, context
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import emit, note
from netvps.cli.ui.parse import DURATION
from netvps.errors import NetvpsError, TimedOut, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netvps.client import Client
    from netvps.domain.session.session import Session

names_argument = click.argument("names", nargs=-1, required=True, metavar="NAME...", type=SESSION)
_MOMENT: Final = 0.2
"""Seconds that `stop` waits for a snapshot where --wait-snapshot is not given."""
wait_option = click.option("--wait/--no-wait", default=True, help="Wait until it is done (the default).")
timeout_option = click.option("--timeout", type=DURATION, default="10m", show_default=True, help="How long to wait.")


@click.command("stop")
@names_argument
@wait_option
@click.option("--wait-snapshot", is_flag=True, help="Wait for the snapshot, too, and fail if there is none.")
@click.option("--copies", type=click.IntRange(1, 16), default=None, metavar="N",
              help="Wait until N runners hold the snapshot, and fail if they cannot.")  # fmt: skip
@timeout_option
def stop(names: tuple[str, ...], wait: bool, wait_snapshot: bool, copies: int | None, timeout: float) -> None:
    """Stop sessions; their files are kept.

    A session is stopped when its processes have ended. A snapshot of it is taken after that, in the background.

    Example: netvps stop dev1
    """
    if (wait_snapshot or copies) and not wait:
        raise click.UsageError("--wait-snapshot and --copies exclude --no-wait: give one of them")
    connection = client()
    waits = wait_snapshot or copies is not None
    settle = partial(_until_stopped, connection, timeout, wait_snapshot=waits)

    def done(session: Session, called: str) -> str:
        words = _stopped(session, called, wait_snapshot=waits, copies=copies)
        return f"{words}, {_copied(connection, session, copies, timeout)}" if copies else words

    ask_each(connection.stop_session, names, wait=wait, settle=settle, done=done)


@click.command("start")
@names_argument
@wait_option
@timeout_option
def start(names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Start stopped sessions again, or retry failed ones.

    Example: netvps start dev1
    """
    connection = client()
    settle = partial(until_settled, connection, timeout)
    ask_each(connection.start_session, names, wait=wait, settle=settle, done=lambda *_: "runs")


@click.command("restart")
@names_argument
@click.option("--timeout", type=DURATION, default="10m", show_default=True, help="How long to wait for each step.")
def restart(names: tuple[str, ...], timeout: float) -> None:
    """Stop sessions and start them again; their files are kept.

    A session that is stopped is started.

    Example: netvps restart dev1
    """
    connection = client()

    def settle(sessions: list[Session]) -> list[Session]:
        stopped = until_settled(connection, timeout, sessions)
        started = [connection.start_session(str(session.full_name)) for session in stopped]
        return until_settled(connection, timeout, started)

    ask_each(connection.stop_session, names, wait=True, settle=settle, done=lambda *_: "runs")


@click.command("rm")
@names_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@wait_option
@timeout_option
def rm(names: tuple[str, ...], yes: bool, wait: bool, timeout: float) -> None:
    """Remove sessions with their files and snapshots, without a way back.

    Asks for the name, unless --yes is given.

    Example: netvps rm dev1
    """
    if not yes:
        whose = "its" if len(set(names)) == 1 else "their"
        confirm(names, "session", f"removes {whose} files and snapshots, without a way back")
    connection = client()
    settle = partial(until_settled, connection, timeout)
    ask_each(connection.delete_session, names, wait=wait, settle=settle, done=lambda *_: "is gone")
    from netvps.cli.access import config_ssh

    config_ssh.forget(context(), names)


def confirm(names: Sequence[str], noun: str, consequence: str) -> None:
    """Asks for the name, or the number of several. Raises a usage error off a terminal, Abort for a wrong answer."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"this {consequence}: confirm with --yes where there is no terminal to ask on")
    several = [*dict.fromkeys(names)]
    expected = several[0] if len(several) == 1 else str(len(several))
    if len(several) > 1:
        note(f"{noun}s: {', '.join(several)}")
    what = f"the name of the {noun}" if len(several) == 1 else f"the number of {noun}s"
    typed = click.prompt(f"This {consequence}. Type {what} ({expected})", default="", show_default=False, err=True)
    if typed != expected:
        note(f"that is not {expected!r}; nothing was removed")
        raise click.Abort


def ask_each(
    ask: Callable[[str], Session],
    names: Sequence[str],
    *,
    wait: bool,
    settle: Callable[[list[Session]], list[Session]],
    done: Callable[[Session, str], str],
) -> None:
    """Asks it of every session, whatever becomes of the others, then waits. Raises the last error."""
    asked: dict[str, Session] = {}
    errors: list[NetvpsError] = []
    for name in dict.fromkeys(names):
        try:
            asked[name] = ask(name)
        except NetvpsError as error:
            errors.append(error)
    if wait and asked:
        errors += _await(asked, settle, done)
    for name in () if wait else asked:
        emit(name)
        note(f"session {name}: asked for; `netvps watch` shows how it gets on")
    raise_last(errors)


def raise_last(errors: Sequence[NetvpsError]) -> None:
    """Prints all errors but the last, which decides the exit code, and raises that, if there is one."""
    for further in errors[:-1]:
        note(f"netvps: {further}")
    if errors:
        raise errors[-1]


def _await(
    asked: dict[str, Session], settle: Callable[[list[Session]], list[Session]], done: Callable[[Session, str], str]
) -> list[NetvpsError]:
    from netvps.cli.ui.waiting import require

    errors: list[NetvpsError] = []
    for name, session in zip(asked, settle(list(asked.values())), strict=True):
        try:
            require(session, name)
            words = done(session, name)
        except NetvpsError as error:
            errors.append(error)
        else:
            emit(name)
            note(f"session {name} {words}")
    return errors


def until_settled(connection: Client, timeout: float, sessions: list[Session]) -> list[Session]:
    """The sessions once they are at rest; at most `timeout` seconds."""
    from netvps.cli.ui import waiting

    return waiting.until_settled(connection, sessions, timeout)


def _until_stopped(
    connection: Client, timeout: float, sessions: list[Session], *, wait_snapshot: bool
) -> list[Session]:
    """Most sessions are copied within a moment; then it is not said that they are not."""
    from netvps.cli.ui.waiting import copied, until_settled

    stopped = until_settled(connection, sessions, timeout)
    if all(copied(session) for session in stopped):
        return stopped
    if wait_snapshot:
        return until_settled(connection, stopped, timeout, copied)
    with suppress(TimedOut):
        return until_settled(connection, stopped, _MOMENT, copied)
    return stopped


def _stopped(session: Session, called: str, *, wait_snapshot: bool, copies: int | None) -> str:
    """What to say of a session that is stopped. Raises WrongState if a snapshot is waited for, and failed."""
    from netvps.cli.ui.waiting import copied, require_snapshot

    try:
        require_snapshot(session, called)
    except WrongState as error:
        if copies:  # that needs no image
            also = f"netvps snapshot create {called} --copies {copies}"
            raise WrongState(f"{error}, and `{also}` keeps its files on as many runners") from None
        if wait_snapshot:
            raise
        return f"stopped; its files are kept in its container. {error}"
    return "stopped; its files are kept" if copied(session) else "stopped; its files are kept, and are being copied"


def _copied(connection: Client, session: Session, copies: int, timeout: float) -> str:
    """Waits until as many runners hold the snapshot of a stop; returns words. Raises WrongState if there is none."""
    from netvps.cli.snapshot.waiting import copies_words, until_copied
    from netvps.domain.snapshot.snapshot import SnapshotChange

    name, taken = str(session.full_name), session.snapshot.uid if session.snapshot else ""
    found = [one for one in connection.list_snapshots(name) if one.uid == taken]
    if not found:
        raise WrongState(
            f"session {name} is stopped, but there is no snapshot of that which could be copied; its files are kept in "
            f"its container: see `netvps snapshot ls {name}`"
        )
    changed = connection.update_snapshot(name, found[0].id, SnapshotChange(copies=copies))
    return f"in {copies_words(until_copied(connection, changed, timeout))} copies"
