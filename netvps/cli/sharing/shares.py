"""`netvps share`, `netvps unshare` and `netvps shares`: sessions that other people may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION, USER
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.cli.ui.parse import UNTIL
from netvps.display.units import age, moment_words

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.sharing import NamedShare

_ROLES = ("view", "use")


def _view() -> View[NamedShare]:
    from netvps.cli.session.sessions import to_json

    return View(
        name=lambda named: f"{named.session}/shares/{named.share.user}",
        columns=(
            Column("SESSION", lambda named: str(named.session)),
            Column("USER", lambda named: named.share.user),
            Column("ROLE", lambda named: named.share.role.lower()),
            Column("UNTIL", lambda named: moment_words(end) if (end := named.share.expire_time) else ""),
            Column("AGE", lambda named: age(named.share.create_time)),
        ),
        json=to_json,
    )


def sentence(named: NamedShare) -> str:
    """A share in a line of `netvps show`: "bob may use it until 2026-01-02 03:04"."""
    share = named.share
    what = "use it" if share.role == "USE" else "watch it"
    return f"{share.user} may {what}" + (f" until {moment_words(share.expire_time)}" if share.expire_time else "")


@click.command("share")
@click.argument("name", type=SESSION)
@click.argument("user", type=USER)
@click.option(
    "--role",
    type=click.Choice(_ROLES, case_sensitive=False),
    default="view",
    show_default=True,
    help="view: watch terminals, and see the session; use: log in as well.",
)
@click.option("--until", type=UNTIL, default=None, metavar="TIME", help="When it ends: 2h, 7d, or a date and time.")
@format_option
def share(name: str, user: str, role: str, until: datetime | None, form: str) -> None:
    """Let another user watch a session, or use it; again to change that.

    Only you delete, resize and share it. `netvps unshare` ends it at once.

    \b
    Examples: netvps share dev1 bob
              netvps share dev1 bob --role use --until 2h
    """  # noqa: D301 — Click means the character
    from netvps.domain.access.sharing import ShareRole

    made = client().share_session(name, user, ShareRole(role.upper()), until)
    if form in {"table", "wide"}:
        emit(str(made.session))
        note(sentence(made))
        how = f"netvps ssh {made.session}" if role == "use" else f"ssh watch+{made.session}@GATEWAY -p PORT"
        note(f"next: {user} types `{how}`")
    else:
        _view().print_one(made, form)


@click.command("unshare")
@click.argument("name", type=SESSION)
@click.argument("user", type=USER)
def unshare(name: str, user: str) -> None:
    """End a share; connections of that user to the session end, too.

    USER is "me" to give up a session that is shared with you.

    Example: netvps unshare dev1 bob
    """
    emit(str(client().unshare_session(name, user).session))


@click.command("shares")
@click.argument("name", type=SESSION, default="", metavar="[NAME]")
@format_option
def shares(name: str, form: str) -> None:
    """List who may use a session of yours; without NAME the sessions that are shared with you.

    \b
    Examples: netvps shares
              netvps shares dev1
    """  # noqa: D301 — Click means the character
    found = list(client().list_shares(name))
    if not found and form in {"table", "wide"}:
        note(f"{name} is not shared; see netvps share --help" if name else "no session is shared with you")
    _view().print_all(found, form)
