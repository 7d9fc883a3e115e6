"""`netvps logs`: what a session's container wrote."""

from __future__ import annotations

import sys

import click

from netvps.cli.arguments import SESSION
from netvps.cli.connect import client
from netvps.cli.terminal import LogFilter


@click.command("logs")
@click.argument("name", type=SESSION)
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option(
    "--tail", type=click.IntRange(1, 100_000), default=1000, show_default=True, metavar="N", help="Last lines."
)
@click.option("--raw", is_flag=True, help="Let everything through to the terminal, also what steers it.")
def logs(name: str, follow: bool, tail: int, raw: bool) -> None:
    """Print what a session's container wrote to stdout and stderr.

    On a terminal only text and colours pass; into a file or a pipe go the bytes as they are.

    Example: netvps logs -f dev1
    """
    pieces = client().read_logs(name, tail, follow)
    if raw or not sys.stdout.isatty():
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
        return
    filtered = LogFilter()
    for piece in pieces:
        sys.stdout.write(filtered.feed(piece))
        sys.stdout.flush()
    sys.stdout.write(filtered.feed(b"", last=True))
