"""`netvps url`: where a port of a session is served, for browsers and programs."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING

import click

from netvps.cli.http.stored import add, ls, rm
from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.groups import DefaultGroup
from netvps.cli.ui.output import emit, note
from netvps.cli.ui.parse import UNTIL
from netvps.display.units import moment_words
from netvps.domain.http.site import MAX_PORT

if TYPE_CHECKING:
    from datetime import datetime


@click.group("url", cls=DefaultGroup, default="print")
def url() -> None:
    """Print the URL of a port of a session, open it, and say who else may open it.

    `netvps url NAME PORT` is short for `netvps url print NAME PORT`.

    \b
    Examples: netvps url dev1 3000 --open
              netvps url add dev1 3000 --public --until 2h
    """  # noqa: D301 — Click means the character


@url.command("print")
@click.argument("name", type=SESSION)
@click.argument("port", type=click.IntRange(1, MAX_PORT), required=False)
@click.option("--open", "open_", is_flag=True, help="Open it in this machine's browser, logged in as you.")
@click.option("--login", is_flag=True, help="Print a URL that logs a browser in as you, once, within a minute.")
@click.option("--link", is_flag=True, help="Print a secret URL that opens this port for someone without an account.")
@click.option(
    "--until", type=UNTIL, default=None, metavar="TIME", help="When the link ends: 1h, 7d, or a date and time."
)
def print_url(*, name: str, port: int | None, open_: bool, login: bool, link: bool, until: datetime | None) -> None:
    """Print the URL of a port of a session; without PORT that of its main port, 8080.

    Whoever may log in to the session may open it. A browser logs in with an API key, or with --open or --login; a
    program sends the header "Netvps-Authorization: Bearer API-KEY". Opening it starts the session, unless a person
    stopped that. `netvps url rm` ends a link before its time.

    \b
    Examples: netvps url dev1
              netvps url dev1 3000 --open
              netvps url dev1 3000 --link --until 1h
    """  # noqa: D301 — Click means the character
    if link != (until is not None):
        raise click.UsageError("a link ends: give --link and --until together, for example --link --until 1h")
    if link + login + open_ > 1:
        raise click.UsageError("--open, --login and --link exclude each other: give one of them")
    connection = client()
    if until is not None:
        made, uri = connection.create_url_link(name, until, port)
        emit(uri)
        end = moment_words(until)
        note(
            f"whoever has it may open port {made.url.port} until {end}; end it with: netvps url rm {name} {made.url.id}"
        )
        return
    if login:
        emit(connection.create_url_login(name, port))
        return
    emit(connection.get_url(name, port).uri)
    if open_ and not webbrowser.open(connection.create_url_login(name, port)):
        note(f"this machine has no browser: open what `netvps url {name} --login` prints in another one")


url.add_command(add)
url.add_command(ls)
url.add_command(rm)
