"""`netvps deploy`: services that a file declares."""

from __future__ import annotations

import click

from netvps.cli.deploy.apply import apply
from netvps.cli.deploy.plan import plan
from netvps.cli.deploy.services import logs, ls, restart, rm, status
from netvps.cli.ui.output import emit, json_text


@click.group("deploy")
def deploy() -> None:
    """Put services online from a file: each a container with a URL, stopped while it is not used.

    \b
    Examples: netvps deploy plan
              netvps deploy apply
              netvps deploy status shop
    """  # noqa: D301 — Click means the character


@deploy.command("schema")
def schema() -> None:
    """Print the JSON Schema of deployment files, with which editors complete and check them.

    Example: netvps deploy schema > deployment.schema.json
    """
    from netvps.cli.deploy.schema import json_schema

    emit(json_text(json_schema(), 2))


for _command in (plan, apply, ls, status, logs, restart, rm):
    deploy.add_command(_command)
