"""`netvps lease`: which program may change a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import moment_words
from netvps.errors import NotFound, WrongState

if TYPE_CHECKING:
    from netvps.client import Client, NamedLease
    from netvps.domain.session.session import Session

_ttl = click.option("--ttl", type=DURATION, default="5m", show_default=True, metavar="TIME",
                    help="How long from now, 10s to 24h.")  # fmt: skip
_EPOCH = click.IntRange(min=1)


@click.group("lease")
def lease() -> None:
    """Let one program change a session, and no other.

    While a session is leased, `stop`, `rm`, `set`, `move` and all other changes need the lease: NETVPS_LEASE has its
    epoch. Logins, commands and snapshots need none. A lease ends by itself.
    """


@lease.command("acquire")
@click.argument("name", type=SESSION)
@click.option("--holder", required=True, metavar="TEXT", help="What your program calls itself.")
@_ttl
@click.option("--force", is_flag=True, help="Take it from another holder.")
@format_option
def acquire(name: str, holder: str, ttl: float, force: bool, form: str) -> None:
    """Lease a session, and print the epoch of the lease.

    The same holder gets it again, with a new epoch: the old one is refused from then on.

    \b
    Example: export NETVPS_LEASE=$(netvps lease acquire dev1 --holder nightly --ttl 10m)
             netvps stop dev1
    """  # noqa: D301 — Click means the character
    _print(client().acquire_lease(name, holder, ttl, force=force), form)


@lease.command("renew")
@click.argument("name", type=SESSION)
@click.argument("epoch", type=_EPOCH)
@_ttl
@format_option
def renew(name: str, epoch: int, ttl: float, form: str) -> None:
    """Let a lease end later. Fails if it has ended, or was taken.

    Example: netvps lease renew dev1 42
    """
    known = client()
    _print(known.acquire_lease(name, known.get_lease(name).lease.holder, ttl, epoch=epoch), form)


@lease.command("release")
@click.argument("name", type=SESSION)
@click.argument("epoch", type=_EPOCH, default=None, required=False)
@click.option("--force", is_flag=True, help="End it whoever holds it; the audit log has that.")
def release(name: str, epoch: int | None, force: bool) -> None:
    """End a lease: the one with EPOCH, or with --force any.

    Example: netvps lease release dev1 42
    """
    if force == (epoch is not None):
        raise click.UsageError("EPOCH and --force exclude each other: give one of them")
    emit(client().release_lease(name, epoch or 0, force=force).session)


def leased(connection: Client, session: Session) -> list[tuple[str, str]]:
    """A line of `netvps show` for a session that is leased."""
    try:
        return [("leased", _sentence(connection.get_lease(str(session.full_name))))]
    except (NotFound, WrongState):  # it is not; or an older server
        return []


def _sentence(named: NamedLease) -> str:
    found = named.lease
    return f"by {found.holder} (user {found.user}, epoch {found.epoch}) until {moment_words(found.expire_time)}"


def _print(named: NamedLease, form: str) -> None:
    if form in {"table", "wide"}:
        emit(str(named.lease.epoch))
        note(f"session {named.session} is leased {_sentence(named)}")
        return
    from netvps.cli.session.sessions import to_json

    columns = (Column[Any]("EPOCH", lambda one: str(one.lease.epoch)),)
    View(name=lambda one: str(one.lease.epoch), columns=columns, json=to_json).print_one(named, form)
