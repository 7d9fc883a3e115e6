"""A command's connection to the server of the context in force, closed when the command ends."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from netvps.cli.server.contexts import resolve
from netvps.domain.checks import shown
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from netvps.cli.server.contexts import Context
    from netvps.client import Client


def context() -> Context:
    """The context of the command that runs: --context, NETVPS_CONTEXT, or the chosen one."""
    return resolve(click.get_current_context().find_root().obj)


def client() -> Client:
    """A client for the command that runs; it is closed when the command ends."""
    made = click.get_current_context().with_resource(dial(context()))
    return made.with_lease(_epoch(lease)) if (lease := os.environ.get("NETVPS_LEASE")) else made


def _epoch(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"NETVPS_LEASE is {shown(text)}: set it to the epoch of your lease, or unset it")
    return int(text)


def dial(to: Context) -> Client:
    """A client for a context."""
    from netvps.client import Client, Endpoint

    return Client(Endpoint(to.address, to.ca_certificate, to.api_key))
