"""`netvps network reserve`: an address for a session that does not exist yet."""

from __future__ import annotations

from typing import Any

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import RUNNER
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import moment_words


@click.command("reserve")
@click.argument("runner", type=RUNNER)
@click.option("--ttl", type=DURATION, default="10m", show_default=True, metavar="TIME",
              help="How long from now, 1m to 30m.")  # fmt: skip
@format_option
def reserve(runner: str, ttl: float, form: str) -> None:
    """Reserve an address on a runner, and print the token with which a session gets it.

    \b
    Example: netvps network reserve box1
             netvps create dev1 --address-reservation TOKEN
    """  # noqa: D301 — Click means the character
    made = client().reserve_address(runner, ttl)
    if form in {"table", "wide"}:
        emit(made.token)
        end = moment_words(made.expire_time)
        note(f"address {made.address} on {made.runner_name} is reserved until {end}")
        return
    from netvps.cli.session.sessions import to_json

    columns = (Column[Any]("TOKEN", lambda one: one.token),)
    View(name=lambda one: one.token, columns=columns, json=to_json).print_one(made, form)
