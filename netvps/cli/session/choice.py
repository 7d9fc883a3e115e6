"""Which session a command is for, where the person does not say: the only one, or one that they pick."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.output import note
from netvps.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.domain.session.session import Session

_MOST: Final = 30
"""Sessions that a list on a terminal has."""


def pick() -> str:
    """The name of the caller's only session, or of the one that is picked on a terminal.

    Raises NotFound if there is none, and a usage error where there are several and no terminal.
    """
    found = [*itertools.islice(client().list_sessions(""), _MOST + 1)]
    if not found:
        raise NotFound("you have no session yet: `netvps create` makes one")
    if len(found) == 1:
        return found[0].name
    if len(found) > _MOST or not sys.stdin.isatty():
        names = ", ".join([*(session.name for session in found[:3]), *("…" for _ in found[3:4])])
        raise click.UsageError(
            f"you have several sessions ({names}): name one, for example `netvps ssh {found[0].name}`"
        )
    return _ask(found)


def _ask(found: Sequence[Session]) -> str:
    """The answer of the person: a number of the list, or a name."""
    width = max(len(session.name) for session in found)
    for number, session in enumerate(found, start=1):
        note(f"{number:>3}  {session.name:<{width}}  {session.state}")
    names = [session.name for session in found]
    answer: str = click.prompt("Session", err=True, type=str, prompt_suffix=" (number or name): ").strip()
    if answer.isdecimal() and 0 < int(answer) <= len(names):
        return names[int(answer) - 1]
    if answer in names:
        return answer
    raise click.UsageError(
        f"{answer!r} is not in the list: give a number from 1 to {len(names)}, or a name of the list"
    )
