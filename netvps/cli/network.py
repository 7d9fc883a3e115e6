"""`netvps network`: the overlay."""

from __future__ import annotations

import click

from netvps.cli.programs import replace_by


@click.group("network")
def network() -> None:
    """The overlay: one network over all runners."""


@network.command(
    "purge", add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def purge(arguments: tuple[str, ...]) -> None:
    """Remove all of the overlay from this machine: links, routes, rules, Docker's network."""
    replace_by("purge", arguments)
