"""`netvps registry`: the logins with which runners pull images."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.display.units import age
from netvps.domain.image.login import PASSWORD_MAX
from netvps.domain.image.reference import check_registry
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.domain.image.login import RegistryLogin


@click.group("registry")
def registry() -> None:
    """Logins to registries, with which runners pull images."""


@registry.command("login")
@click.argument("host", metavar="HOST[:PORT]")
@click.option("-u", "--username", required=True, metavar="USER", help="The user at the registry.")
def login(host: str, username: str) -> None:
    """Store a login to a registry, with which every runner pulls from then on; it replaces an earlier one.

    The password or token comes from a prompt or from the standard input, never from the command line. HOST is what
    images of the registry are named with. It is not tried: the next pull says whether it works.

    Example: netvps registry login registry.example --username ci < token
    """
    stored = client().update_registry_login(_host(host), username, _password())
    emit(stored.host)
    note(f"runners pull from {stored.host} as {stored.username}; try it: netvps env pull {stored.host}/NAME:TAG")


@registry.command("ls")
@format_option
def ls(form: str) -> None:
    """List the logins to registries, without passwords."""
    found = list(client().list_registry_logins())
    if not found and form in {"table", "wide"}:
        note("no login yet; `netvps registry login HOST --username USER` stores one")
    _view().print_all(found, form)


@registry.command("logout")
@click.argument("host", metavar="HOST[:PORT]")
def logout(host: str) -> None:
    """Remove the login to a registry. Images that were pulled with it stay on the runners."""
    client().delete_registry_login(_host(host))
    emit(_host(host))


def _host(text: str) -> str:
    try:
        return check_registry(text, "HOST")
    except InvalidInput as error:
        raise click.BadParameter(error.violations[0].description, param_hint="HOST") from None


def _password() -> str:
    """The password from a prompt that shows nothing, or from a pipe. Raises a usage error."""
    if sys.stdin.isatty():
        text = str(click.prompt("Password or token", hide_input=True, err=True))
    else:
        text = sys.stdin.readline(PASSWORD_MAX + 2).rstrip("\r\n")
    if not text:
        raise click.UsageError("there is no password: give it at the prompt, or as a line of the standard input")
    return text


def _view() -> View[RegistryLogin]:
    def json(stored: RegistryLogin) -> dict[str, Any]:
        from netvps.rpc.jsonform import to_json

        return to_json(stored)

    return View(
        name=lambda stored: stored.host,
        columns=(
            Column("HOST", lambda stored: stored.host),
            Column("USER", lambda stored: stored.username),
            Column("CHANGED", lambda stored: f"{age(stored.update_time)} ago"),
        ),
        json=json,
    )
