"""`netvps invite`: invitations, by which people make their own account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from netvps.cli.access.login import PORT
from netvps.cli.access.users import ROLES
from netvps.cli.server.connect import client, context
from netvps.cli.ui.output import Column, View, emit, format_option, note, write_secret
from netvps.cli.ui.parse import DURATION
from netvps.display.units import age, moment_words

if TYPE_CHECKING:
    from netvps.domain.access.invitations import InvitationView


@click.group("invite")
def invite() -> None:
    """Invitations: people make their own account with them, once each."""


@invite.command("create")
@click.option("--role", type=click.Choice(ROLES), default="user", help="What they may do, at most what you may.")
@click.option("--ttl", type=DURATION, default="72h", show_default=True, metavar="TIME", help="How long it is valid.")
@click.option("--note", "text", default="", metavar="TEXT", help="For whom it is, for the list.")
@click.option("--file", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the token into FILE (mode 0600) instead of printing it.")  # fmt: skip
@format_option
def create(*, role: str, ttl: float, text: str, target: Path | None, form: str) -> None:
    """Make an invitation for one account (operators and admins). Its token is shown once, here.

    Example: netvps invite create --note "Ann, from the lab"
    """
    from netvps.domain.access.accounts import Role

    made, token = client().create_invitation(Role(role.upper()), ttl=ttl, note=text)
    if target is not None:
        write_secret(target, token)
    elif form in {"table", "wide"}:
        emit(token)
    else:
        shown: View[str] = View(
            name=str, columns=(), json=lambda word: {"token": word, "expireTime": made.expire_time.isoformat()}
        )
        shown.print_one(token, form)
        return
    note(f"good for one account with role {role}, until {moment_words(made.expire_time)}; the invited person runs")
    note(f"  netvps register {_host()} --user NAME")
    note("and gives the token when it is asked for")


@invite.command("ls")
@format_option
def ls(form: str) -> None:
    """List invitations (an admin those of all), without their tokens. Ended ones are listed for 30 days."""
    from netvps.cli.session.sessions import to_json

    view: View[InvitationView] = View(
        name=lambda one: one.kid,
        columns=(
            Column("KID", lambda one: one.kid),
            Column("STATE", _state),
            Column("ROLE", lambda one: one.role.lower()),
            Column("NOTE", lambda one: one.note),
            Column("BY", lambda one: one.issuer),
            Column("AGE", lambda one: age(one.create_time)),
            Column("EXPIRES", lambda one: moment_words(one.expire_time)),
        ),
        json=to_json,
    )
    found = list(client().list_invitations())
    if not found and form in {"table", "wide"}:
        note("no invitations; `netvps invite create` makes one")
    view.print_all(found, form)


@invite.command("rm")
@click.argument("kids", nargs=-1, required=True, metavar="KID...")
def rm(kids: tuple[str, ...]) -> None:
    """Revoke invitations; accounts that were made with them stay.

    Example: netvps invite rm 0123456789ab
    """
    connection = client()
    for given in kids:
        kid = given.removeprefix("invitations/").removeprefix("nvi_").partition("_")[0]
        connection.delete_invitation(kid)
        emit(kid)


def _host() -> str:
    """HOST[:PORT] of the server for people on other machines, as far as this machine knows it."""
    where = context()
    if not where.address.startswith("unix:"):
        return where.address.removesuffix(f":{PORT}")
    info = client().server_info()
    name = info.names[0] if info.names else "HOST"
    return f"{f'[{name}]' if ':' in name else name}{info.api_address}".removesuffix(f":{PORT}")


def _state(one: InvitationView) -> str:
    return f"redeemed by {one.redeemed_by}" if one.redeemed_by else one.state.lower()
