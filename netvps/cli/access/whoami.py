"""`netvps whoami`: the account that the server takes this person for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netvps.cli.people.quota import with_quota
from netvps.cli.server.connect import client, context
from netvps.cli.session.sessions import to_json
from netvps.cli.ui.output import Column, View, format_option

if TYPE_CHECKING:
    from netvps.domain.access.accounts import User


@click.command("whoami")
@format_option
def whoami(form: str) -> None:
    """Print who you are to the server: name, role, quota, and which server that is.

    Example: netvps whoami -o name
    """
    where = context()
    shown: View[User] = View(
        name=lambda user: user.name,
        columns=(
            Column("NAME", lambda user: user.name),
            Column("ROLE", lambda user: user.role.lower()),
            Column("CONTEXT", lambda _: where.name),
            Column("SERVER", lambda _: where.address),
        ),
        json=lambda user: {**to_json(user), "context": where.name, "address": where.address},
    )
    connection = client()
    with_quota(shown, connection, "me").print_one(connection.get_user("me"), form)
