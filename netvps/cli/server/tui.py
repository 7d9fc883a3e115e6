"""`netvps tui`: the terminal UI on this terminal."""

from __future__ import annotations

import sys

import click

from netvps.cli.server.connect import context


@click.command("tui")
@click.option("--read-only", is_flag=True, help="Show everything, and change nothing.")
def tui(read_only: bool) -> None:
    """Sessions, runners and the network on one screen, live; keys for all that one does with them.

    `?` shows the keys. With NO_COLOR it has no colours, with NETVPS_ACCESSIBLE=1 no glyphs either.

    Example: netvps tui
    """
    from netvps_tui.connect import SuspendAndSsh
    from netvps_tui.run import run

    from netvps.client import Endpoint

    chosen = context()
    name = click.get_current_context().find_root().obj
    command = [
        sys.executable,
        "-P",
        "-c",
        "from netvps.cli.app import main; main()",
        *(["--context", name] * bool(name)),
    ]
    endpoint = Endpoint(chosen.address, chosen.ca_certificate, chosen.api_key)
    run(endpoint, connect=SuspendAndSsh(command), read_only=read_only, title=chosen.name)
