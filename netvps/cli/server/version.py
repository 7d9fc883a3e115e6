"""`netvps version`."""

from __future__ import annotations

import click

from netvps import __version__
from netvps.cli.server.connect import client
from netvps.cli.server.skew import skew_hint
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.errors import NetvpsError


@click.command("version")
@format_option
def version(form: str) -> None:
    """Print versions of this program and of the server it talks to."""
    if form in {"table", "wide"}:
        emit(f"netvps {__version__}")  # also where the server does not answer, after a while
    try:
        server = client().server_info().version
    except NetvpsError as error:
        note(f"server: {error}")
        server = ""
    if form not in {"table", "wide"}:
        shown: View[str] = View(
            name=lambda _: __version__,
            columns=(Column("CLIENT", lambda _: __version__), Column("SERVER", str)),
            json=lambda other: {"client": __version__, "server": other},
        )
        shown.print_one(server, form)
    elif server:
        emit(f"server {server}")
    if hint := skew_hint(server):
        note(hint)
