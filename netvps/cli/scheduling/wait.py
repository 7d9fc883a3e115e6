"""`netvps wait`: until sessions are in a state, whoever brings them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.session.lifecycle import names_argument, raise_last, timeout_option
from netvps.cli.ui.output import emit, note
from netvps.errors import NetvpsError, NotFound

if TYPE_CHECKING:
    from netvps.domain.session.session import Session

_GOALS: Final = {"running": "RUNNING", "paused": "PAUSED", "stopped": "STOPPED", "gone": "DELETED"}


@click.command("wait")
@names_argument
@click.option(
    "--for",
    "goal",
    type=click.Choice([*_GOALS]),
    metavar="STATE",
    default="running",
    show_default=True,
    help="running, paused, stopped or gone.",
)
@timeout_option
def wait(names: tuple[str, ...], goal: str, timeout: float) -> None:
    """Wait until sessions are in a state, and change nothing.

    It fails as soon as a session cannot get there: it failed, or it was removed. An error of one session ends no wait
    for the others.

    \b
    Examples: netvps wait dev1
              netvps wait job-1 job-2 --for stopped --timeout 1h
    """  # noqa: D301 — Click means the character
    connection = client()
    found: dict[str, Session] = {}
    errors: list[NetvpsError] = []
    for name in dict.fromkeys(names):
        try:
            found[name] = connection.get_session(name)
        except NotFound as error:
            if goal == "gone":
                _print_reached(name, goal)
            else:
                errors.append(error)
    if found:
        from netvps.cli.ui.waiting import failure, until_settled

        settled = until_settled(connection, [*found.values()], timeout, lambda one: _is_over(one, goal))
        for name, session in zip(found, settled, strict=True):
            if session.state == _GOALS[goal]:
                _print_reached(name, goal)
            else:
                removed = NotFound(f"session {name} was removed meanwhile: see netvps ls")
                errors.append(failure(session, name) or removed)
    raise_last(errors)


def _is_over(session: Session, goal: str) -> bool:
    """Whether a session got there, or will not by itself."""
    from netvps.domain.session.lifecycle import settled

    if session.state in {_GOALS[goal], "DELETED"}:
        return True
    return goal != "gone" and session.state == "FAILED" and settled(session)


def _print_reached(name: str, goal: str) -> None:
    emit(name)
    note(f"session {name} is {goal}")
