"""`netvps deploy apply`: makes the server have what a deployment file declares."""

from __future__ import annotations

import click

from netvps.cli.deploy.file import read_deployment
from netvps.cli.deploy.plan import file_option, present_plan, print_plan
from netvps.cli.deploy.rollout import Rollout
from netvps.cli.deploy.services import services_of, urls_of
from netvps.cli.server.connect import client
from netvps.cli.session.lifecycle import confirm
from netvps.cli.ui.output import emit, note
from netvps.domain.deployment.plan import Action
from netvps.domain.deployment.service import service_of
from netvps.errors import Changed, NetvpsError


@click.command("apply")
@file_option
@click.option("--at", metavar="REVISION", default="", help="Refuse if it would not do what `plan` printed with this.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before files are removed.")
def apply(file: str, at: str, yes: bool) -> None:
    """Make the server have what a deployment file declares, and print the URLs of its services.

    A new container takes the place of the old one once it is healthy. If it never is, the old one stays, and the reason
    is printed with the last lines of its log. Services before it in the file stay as they were applied.

    \b
    Examples: netvps deploy apply
              netvps deploy apply -f shop.yaml --at 3f9a12bc04de
    """  # noqa: D301 — Click means the character
    deployment, connection = read_deployment(file), client()
    plan = present_plan(connection, deployment)
    if at and at != plan.revision:
        raise Changed(
            f"revision {at} is not what an apply would do now, which is {plan.revision}: the file, or what it touches,"
            " changed; look again with netvps deploy plan"
        )
    if plan.is_empty:
        note("nothing to do: the server has what the file declares")
    else:
        print_plan(plan, {})
    removed = [step.session for step in plan.steps if step.action in {Action.REPLACE, Action.REMOVE}]
    if removed and not (at or yes):
        confirm([deployment.name], "deployment", f"removes the files of {', '.join(removed)}, without a way back")
    try:
        Rollout(connection, deployment, note).run(plan)
    except NetvpsError:
        note("apply stopped; what was done before stays: see netvps deploy plan")
        raise
    for session in services_of(connection, deployment.name):
        for url in urls_of(connection, session):
            emit(f"{service_of(session)}  {url}")
