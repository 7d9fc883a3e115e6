"""`netvps logs`: what a session's container wrote."""

from __future__ import annotations

import sys
from datetime import datetime

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.parse import SINCE
from netvps.display.text import LogFilter

_USUAL, _MOST = 1000, 100_000
"""Lines."""


@click.command("logs")
@click.argument("name", type=SESSION)
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option(
    "--tail",
    type=click.IntRange(1, _MOST),
    default=None,
    metavar="N",
    help="Last lines: 1000, or with --since all of that time.",
)
@click.option("--since", type=SINCE, default=None, help="Only what is newer: 10m, 2h, or a time like 2026-01-31T12:00.")
@click.option("--raw", is_flag=True, help="Let everything through to the terminal, also what steers it.")
def logs(*, name: str, follow: bool, tail: int | None, since: datetime | None, raw: bool) -> None:
    """Print what a session's container wrote to stdout and stderr.

    On a terminal only text and colours pass; into a file or a pipe go the bytes as they are.

    \b
    Examples: netvps logs -f dev1
              netvps logs --since 10m dev1
    """  # noqa: D301 — Click means the character
    pieces = client().read_logs(name, tail or (_MOST if since else _USUAL), follow, since=since)
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
