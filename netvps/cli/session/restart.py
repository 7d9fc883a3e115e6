"""`netvps restart`: a stop, and a start when that is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netvps.cli.server.connect import client
from netvps.cli.session.lifecycle import ask_each
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.parse import DURATION

if TYPE_CHECKING:
    from netvps.domain.session.session import Session


@click.command("restart")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", type=SESSION)
@click.option("--timeout", type=DURATION, default="10m", show_default=True, help="How long to wait for each step.")
def restart(names: tuple[str, ...], timeout: float) -> None:
    """Stop sessions and start them again; their files are kept.

    A session that is stopped is started.

    Example: netvps restart dev1
    """
    from netvps.cli.ui.waiting import until_settled

    connection = client()

    def settle(sessions: list[Session]) -> list[Session]:
        stopped = until_settled(connection, sessions, timeout)
        started = [connection.start_session(str(session.full_name)) for session in stopped]
        return until_settled(connection, started, timeout)

    ask_each(connection.stop_session, names, wait=True, settle=settle, done=lambda *_: "runs")
