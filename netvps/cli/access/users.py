"""`netvps user`: people, and the API keys by which they log in from elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from netvps.cli.people.quota import changed_limits, quota_options, with_quota
from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import USER, child_of_user
from netvps.cli.ui.groups import DefaultGroup
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import age, moment_words

if TYPE_CHECKING:
    from netvps.domain.access.accounts import ApiKey, User


SCOPES: Final = ("read", "sessions", "full")
ROLES: Final = ("viewer", "user", "operator", "admin")


def _view() -> View[User]:
    from netvps.cli.session.sessions import to_json

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
@click.option("--role", type=click.Choice(ROLES), default="user", help="What they may do (by default user).")
@click.option("--admin", is_flag=True, help="The same as --role admin.")
@format_option
def add(*, name: str, role: str, admin: bool, form: str) -> None:
    """Add a person.

    A viewer reads, a user has sessions, an operator also manages machines and images, an admin may do everything.

    Example: netvps user add alice
    """
    from netvps.domain.access.accounts import Role

    made = client().create_user(name, Role.ADMIN if admin else Role(role.upper()))
    if form in {"table", "wide"}:
        emit(made.name)
        note(f"next: `netvps user api-key {made.name}` makes the key for their `netvps login HOST`")
    else:
        _view().print_one(made, form)


@user.command("ls")
@format_option
def ls(form: str) -> None:
    """List people."""
    _view().print_all(client().list_users(), form)


@user.command("show")
@click.argument("name", type=USER, default="me")
@format_option
def show(name: str, form: str) -> None:
    """Print a person (by default yourself) with their role, their quota, and what their sessions have of it."""
    connection = client()
    with_quota(_view(), connection, name).print_one(connection.get_user(name), form)


@user.command("set")
@click.argument("name", type=USER)
@click.option("--role", type=click.Choice(ROLES), default=None, help="What they may do from now on.")
@quota_options
@format_option
def set_(name: str, role: str | None, form: str, **limits: int | None) -> None:
    """Change the role or the quota of a person, at once: connections that a role does not allow end.

    A quota limits what the sessions of a person have together; sessions that exist stay when it is lowered.

    Example: netvps user set alice --max-sessions 10 --max-memory 32G
    """
    from netvps.domain.access.accounts import Role

    quota = changed_limits(limits)
    if role is None and not quota:
        raise click.UsageError("nothing is to be changed: give --role, or a limit such as --max-sessions")
    changed = client().update_user(name, Role(role.upper()) if role else None, quota)
    if form in {"table", "wide"}:
        emit(changed.name)
    else:
        _view().print_one(changed, form)


@user.command("rm")
@click.argument("name", type=USER)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(name: str, yes: bool) -> None:
    """Remove a person with their keys; not while they own sessions."""
    if not yes:
        from netvps.cli.session.lifecycle import confirm

        confirm([name], "user", "revokes all keys of that person")
    client().delete_user(name)
    emit(name)


@user.group("api-key", cls=DefaultGroup, default="create", bare=True)
def api_key() -> None:
    """API keys: for `netvps login`, for CI and for programs.

    `netvps user api-key NAME` is short for `netvps user api-key create NAME`.
    """


@api_key.command("create")
@click.argument("name", type=USER, default="me")
@click.option("--title", default="", help="A name for it, for the list.")
@click.option("--expires", type=DURATION, default=None, metavar="TIME", help="How long it works, for example 90d.")
@click.option("--scope", type=click.Choice(SCOPES), default="full", help="What it is for (by default full).")
@click.option("--revoke", metavar="KID", default="", hidden=True)
@format_option
def create_api_key(*, name: str, title: str, expires: float | None, scope: str, revoke: str, form: str) -> None:
    """Make an API key for a person (by default yourself). It is shown once, here.

    Scope read only reads, sessions also has sessions but no access to keys, full may do all that the person may.

    Example: netvps user api-key alice --title laptop --expires 90d
    """
    if revoke:
        _revoke(name, revoke)
        return
    from netvps.domain.access.accounts import Scope

    _show(client().create_api_key(name, title=title, ttl=expires, scope=Scope(scope.upper())), form)


@api_key.command("rotate")
@click.argument("kid", metavar="KID")
@click.option("--user", "name", type=USER, default="me", metavar="USER", help="Whose it is (admins only).")
@click.option(
    "--overlap", type=DURATION, default="1d", show_default=True, metavar="TIME", help="How long the old one works on."
)
@format_option
def rotate_api_key(*, kid: str, name: str, overlap: float, form: str) -> None:
    """Make an API key in place of another one, with its title, scope and lifetime. It is shown once, here.

    Example: netvps user api-key rotate 0123456789ab --overlap 1h
    """
    _show(client().rotate_api_key(_named(name, kid), overlap), form)


def _show(secret: str, form: str) -> None:
    if form not in {"table", "wide"}:
        shown: View[str] = View(name=str, columns=(), json=lambda made: {"secret": made})
        shown.print_one(secret, form)
        return
    emit(secret)
    note("keep it: it is shown once; `netvps login HOST` asks for it")


@api_key.command("ls")
@click.argument("name", type=USER, default="me")
@format_option
def list_api_keys(name: str, form: str) -> None:
    """List API keys of a person (by default your own), without their secrets."""
    from netvps.cli.session.sessions import to_json

    view: View[ApiKey] = View(
        name=lambda key: key.kid,
        columns=(
            Column("KID", lambda key: key.kid),
            Column("TITLE", lambda key: key.title),
            Column("SCOPE", lambda key: key.scope.lower()),
            Column("AGE", lambda key: age(key.create_time)),
            Column("EXPIRES", lambda key: moment_words(key.expire_time) if key.expire_time else "never"),
            Column("LAST USE", lambda key: age(key.last_use_time) + " ago" if key.last_use_time else "-"),
        ),
        json=to_json,
    )
    view.print_all(client().list_api_keys(name), form)


@api_key.command("revoke")
@click.argument("kid", metavar="KID")
@click.option("--user", "name", type=USER, default="me", metavar="USER", help="Whose it is (admins only).")
def revoke_api_key(kid: str, name: str) -> None:
    """Revoke an API key; it stops working at once.

    Example: netvps user api-key revoke 0123456789ab
    """
    _revoke(name, kid)


def _revoke(name: str, kid: str) -> None:
    key = _named(name, kid)
    client().delete_api_key(key)
    emit(key.rpartition("/")[2])


def _named(name: str, kid: str) -> str:
    """USER/KID of what was typed: a KID, a whole key, or a resource name."""
    owner, kid = child_of_user(kid, "apiKeys")
    return f"{owner or name}/{kid.removeprefix('nv_').partition('_')[0]}"
