"""`netvps move`: a session goes to another runner, with its files and its snapshots."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import RUNNER, SESSION
from netvps.cli.ui.output import emit, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import duration_words
from netvps.errors import TimedOut, WrongState
from netvps.exit_codes import Cancelled

if TYPE_CHECKING:
    from netvps.client import Client
    from netvps.domain.moves.move import MoveView

_POLL_SECONDS: Final = 0.1


@click.command("move")
@click.argument("name", type=SESSION, metavar="NAME")
@click.option("--to", "target", type=RUNNER, default="", metavar="RUNNER", help="The runner to move it to.")
@click.option("--from-copy", is_flag=True,
              help="Its runner is gone: go on from its newest copy on another one.")  # fmt: skip
@click.option("--wait/--no-wait", default=True, help="Wait until it is done (the default).")
@click.option("--timeout", type=DURATION, default="1h", show_default=True, help="How long to wait.")
def move(name: str, target: str, from_copy: bool, wait: bool, timeout: float) -> None:
    """Move a session to another runner, with its files and snapshots.

    A running session is stopped for it, and runs again there. Name, host key and address on the overlay stay. If the
    move fails, the session runs on where it was.

    Where its runner is gone, --from-copy goes on from its newest copy. What it wrote since then stays on that machine;
    if that returns, the session is stopped there, and its files are kept.

    Example: netvps move dev1 --to box2
    """
    connection = client()
    moved = connection.move_session(name, target, from_copy=from_copy)
    if wait:
        moved = _until_moved(connection, name, timeout)
    emit(name)
    if moved.stage == "FAILED":
        raise WrongState(f"session {name} stays on runner {moved.origin}: {moved.message}")
    if moved.stage in {"ARRIVING", "DONE"}:
        note(f"session {name} is on runner {moved.target}{f', and {moved.message}' if moved.message else ''}")
    else:
        note(f"session {name} is being moved; `netvps watch` shows how it gets on")


def _until_moved(connection: Client, name: str, timeout: float) -> MoveView:
    """The move once the session has run on its new runner, rests there, or stays. Raises TimedOut, Cancelled."""
    from netvps.cli.ui.progress import progress
    from netvps.domain.session.session import DesiredState

    deadline, latest = time.monotonic() + timeout, ""
    try:
        with progress() as shown:
            while time.monotonic() < deadline:
                (moved,) = connection.list_moves(name)
                if moved.stage in {"DONE", "FAILED"}:
                    return moved
                session = connection.get_session(name)
                if moved.stage == "ARRIVING" and session.desired is DesiredState.STOPPED and session.state == "STOPPED":
                    return moved
                if moved.stage == "ARRIVING" and session.state == "FAILED":
                    raise WrongState(f"session {name} does not start on runner {moved.target}: {session.message}")
                latest = f"{moved.stage} {moved.message or session.message}"
                shown.show(f"session {name} moves to runner {moved.target}: {latest}")
                shown.tick()
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        raise Cancelled(f"stopped waiting; the move of session {name} goes on in the background") from None
    raise TimedOut(
        f"--timeout {duration_words(timeout)} is over and session {name} has not moved yet ({latest}); it goes on in "
        "the background"
    )
