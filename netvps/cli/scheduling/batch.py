"""`netvps create NAME NAME...`: all of the sessions or none."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.session.lifecycle import raise_last, until_settled
from netvps.cli.session.sessions import called, view
from netvps.cli.session.spec_options import options_named
from netvps.cli.ui.output import note
from netvps.cli.ui.waiting import failure
from netvps.domain.batch import MAX_BATCH, NewSession
from netvps.domain.session.session import Session
from netvps.errors import InvalidInput, NetvpsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from netvps.client import Client
    from netvps.domain.session.spec import SessionSpec

_OF_ONE: Final = re.compile(r"requests\[(\d+)\]: (.*)", re.DOTALL)


def create_batch(connection: Client, names: Sequence[tuple[str, str]], spec: SessionSpec) -> list[Session]:
    """Makes sessions, each with its name and owner ('': the caller).

    Raises a usage error, and what the server refuses, with the name of the session.
    """
    if len(names) > MAX_BATCH:
        raise click.UsageError(f"{len(names)} names are more than {MAX_BATCH}: call it several times")
    with options_named(), _named(names):
        made = connection.create_many([NewSession(name, spec, owner) for name, owner in names])
    return [one for one in made if isinstance(one, Session)]


def print_batch(connection: Client, sessions: list[Session], form: str, *, own: bool, timeout: float | None) -> None:
    """Prints sessions once they run, for which it waits `timeout` seconds; None prints them at once.

    Raises the last error of those that failed.
    """
    form = "name" if form == "table" else form
    if timeout is None:
        view(own=own).print_all(sessions, form)
        note(f"{len(sessions)} sessions are being made; `netvps watch` shows how")
        return
    settled = until_settled(connection, timeout, sessions)
    failures = [(one, failure(one, called(one, own=own))) for one in settled]
    view(own=own).print_all([one for one, error in failures if error is None], form)
    raise_last([error for _, error in failures if error is not None])
    note(f"{len(sessions)} sessions run")


@contextmanager
def _named(names: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Names the session in place of its number in the batch, in what is raised in the block."""
    try:
        yield
    except NetvpsError as error:
        if isinstance(error, InvalidInput) or (one := _OF_ONE.fullmatch(error.message)) is None:
            raise
        about = f"{names[int(one[1])][0]}: {one[2]}; no session was made"
        raise type(error)(about, reason=error.reason) from None
