"""`netvps runner drain`, `cordon` and `uncordon`: moves all sessions away from a machine, and shows how far that is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import RUNNER
from netvps.cli.ui.output import emit, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import duration_words
from netvps.errors import TimedOut, WrongState
from netvps.exit_codes import Cancelled

if TYPE_CHECKING:
    from netvps.client import Client
    from netvps.domain.moves.move import MoveView

STUCK_SECONDS: Final = 5.0
"""For which no runner may have room before the rest counts as staying: one may be offline for a moment."""
_POLL_SECONDS: Final = 0.5


@click.command("drain")
@click.argument("name", type=RUNNER)
@click.option("--wait/--no-wait", default=True, help="Wait until it is done (the default).")
@click.option("--timeout", type=DURATION, default="1h", show_default=True, help="How long to wait.")
def drain(name: str, wait: bool, timeout: float) -> None:
    """Move all sessions of a runner to others, so that its machine can be serviced or retired.

    Two sessions move at a time; each is stopped meanwhile, and runs again on its new runner. Those that cannot move
    keep running, and are named with the reason. No session is placed here until `netvps runner uncordon NAME`.

    Example: netvps runner drain box2
    """
    connection = client()
    moves = connection.drain_runner(name)
    if not moves or not wait:
        emit(name)
        note(f"runner {name} has no sessions" if not moves else f"{len(moves)} sessions leave runner {name}")
        return
    stay = _until_left(connection, name, len(moves), timeout)
    for move in stay:
        note(f"session {move.session} stays: {move.message}")
    if stay:
        raise WrongState(f"{len(stay)} of {len(moves)} sessions could not leave runner {name}; netvps runner drain "
                         f"{name} tries again")  # fmt: skip
    emit(name)
    note(f"runner {name} is empty: {len(moves)} sessions have left; netvps runner rm {name} removes it")


@click.command("cordon")
@click.argument("name", type=RUNNER)
def cordon(name: str) -> None:
    """Keep new sessions away from a runner; those that it has stay, and start there again.

    Example: netvps runner cordon box2
    """
    client().cordon_runner(name)
    emit(name)


@click.command("uncordon")
@click.argument("name", type=RUNNER)
def uncordon(name: str) -> None:
    """Let a cordoned or drained runner have sessions again.

    Example: netvps runner uncordon box2
    """
    client().uncordon_runner(name)
    emit(name)


def _until_left(connection: Client, name: str, total: int, timeout: float) -> list[MoveView]:
    """The moves of those that stay, once all others have left. Raises TimedOut, Cancelled."""
    from netvps.cli.ui.progress import progress

    deadline = time.monotonic() + timeout
    stuck_at = time.monotonic() + STUCK_SECONDS
    open_moves: list[MoveView] = []
    try:
        with progress() as shown:
            while time.monotonic() < deadline:
                moves = connection.list_moves(runner=name)
                open_moves = [move for move in moves if move.stage in {"WAITING", "STOPPING", "COPYING"}]
                stuck = [move for move in open_moves if move.stage == "WAITING" and not move.target and move.message]
                if len(stuck) < len(open_moves):
                    stuck_at = time.monotonic() + STUCK_SECONDS
                elif not stuck or time.monotonic() >= stuck_at:
                    return [move for move in moves if move.stage == "FAILED" or move in stuck]
                first = next((move for move in open_moves if move not in stuck), open_moves[0])
                shown.show(
                    f"{total - len(open_moves)} of {total} left; {first.session} is {first.stage} {first.message}"
                )
                shown.tick()
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        raise Cancelled(f"stopped waiting; the drain of runner {name} goes on in the background") from None
    raise TimedOut(
        f"--timeout {duration_words(timeout)} is over and {len(open_moves)} of {total} sessions have not left runner "
        f"{name} yet; it goes on in the background"
    )
