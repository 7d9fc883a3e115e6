"""`netvps version`."""

from __future__ import annotations

import click

from netvps import __version__
from netvps.cli.connect import client
from netvps.cli.skew import skew_hint
from netvps.cli.terminal import clean
from netvps.errors import NetvpsError


@click.command("version")
def version() -> None:
    """Print versions of this program and of the server it talks to."""
    click.echo(f"netvps {__version__}")
    try:
        info = client().server_info()
    except NetvpsError as error:
        click.echo(f"server: {clean(str(error))}", err=True)
    else:
        click.echo(f"server {clean(info.version)}")
        if hint := skew_hint(info.version):
            click.echo(clean(hint), err=True)
