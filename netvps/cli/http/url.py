"""`netvps url`: where a port of a session is served, for browsers and programs."""

from __future__ import annotations

import webbrowser

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import emit, note


@click.command("url")
@click.argument("name", type=SESSION)
@click.argument("port", type=click.IntRange(1, 65_535), required=False)
@click.option("--open", "open_", is_flag=True, help="Open it in this machine's browser, logged in as you.")
@click.option("--login", is_flag=True, help="Print a URL that logs a browser in as you, once, within a minute.")
def url(name: str, port: int | None, open_: bool, login: bool) -> None:
    """Print the URL of a port of a session; without PORT that of its main port, 8080.

    Whoever may log in to the session may open it. A browser logs in with an API key, or with --open or --login; a
    program sends the header "Netvps-Authorization: Bearer API-KEY". Opening it starts the session, unless a person
    stopped that.

    \b
    Examples: netvps url dev1
              netvps url dev1 3000 --open
    """  # noqa: D301 — Click means the character
    connection = client()
    if login:
        emit(connection.create_url_login(name, port))
        return
    emit(connection.get_url(name, port).uri)
    if open_ and not webbrowser.open(connection.create_url_login(name, port)):
        note(f"this machine has no browser: open what `netvps url {name} --login` prints in another one")
