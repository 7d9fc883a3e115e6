"""`netvps user`: people, and the API keys by which they log in from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netvps.cli.arguments import USER
from netvps.cli.connect import client
from netvps.cli.output import Column, View, age, emit, format_option, note

if TYPE_CHECKING:
    from netvps.domain.access import User


def _view() -> View[User]:
    from netvps.cli.sessions import to_json

    return View(
        name=lambda user: user.name,
        columns=(
            Column("NAME", lambda user: user.name),
            Column("ROLE", lambda user: user.role.lower()),
            Column("AGE", lambda user: age(user.create_time)),
        ),
        json=to_json,
    )


@click.group("user")
def user() -> None:
    """People (admins only, except one's own API keys)."""


@user.command("add")
@click.argument("name", type=USER)
@click.option("--admin", is_flag=True, help="They may do everything.")
@format_option
def add(name: str, admin: bool, form: str) -> None:
    """Add a person.

    Example: netvps user add alice
    """
    from netvps.domain.access import Role

    made = client().create_user(name, Role.ADMIN if admin else Role.USER)
    if form in {"table", "wide"}:
        emit(made.name)
        note(f"next: `netvps user api-key {made.name}` makes the key for their `netvps login`")
    else:
        _view().print_one(made, form)


@user.command("ls")
@format_option
def ls(form: str) -> None:
    """List people."""
    _view().print_all(client().list_users(), form)


@user.command("rm")
@click.argument("name", type=USER)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(name: str, yes: bool) -> None:
    """Remove a person with their keys; not while they own sessions."""
    if not yes:
        from netvps.cli.lifecycle import confirm

        confirm([name], "user", "revokes all keys of that person")
    client().delete_user(name)
    emit(name)


@user.command("api-key")
@click.argument("name", type=USER, default="me")
@click.option("--revoke", metavar="KID", default="", help="Revoke that key (the part after nv_) and make none.")
def api_key(name: str, revoke: str) -> None:
    """Make an API key for a person (by default yourself). It is shown once, here.

    Example: netvps user api-key alice
    """
    if revoke:
        kid = revoke.removeprefix("nv_").partition("_")[0]
        client().delete_api_key(f"{name}/{kid}")
        emit(kid)
        return
    emit(client().create_api_key(name))
    note("keep it: it is shown once; `netvps login HOST` asks for it")
