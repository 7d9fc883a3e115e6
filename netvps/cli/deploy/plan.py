"""`netvps deploy plan`: what an apply would do, and the revision at which it does exactly that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.deploy.file import DEFAULT_FILE, read_deployment
from netvps.cli.server.connect import client
from netvps.cli.ui.output import View, emit, format_option, note
from netvps.domain.deployment.plan import Action, Plan, Step, make_plan
from netvps.domain.deployment.service import deployment_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.client import Client
    from netvps.domain.deployment.service import Deployment

file_option = click.option("-f", "--file", "file", default=DEFAULT_FILE, show_default=True, metavar="FILE",
                           help="The deployment file.")  # fmt: skip
_SIGNS: Final = {Action.CREATE: "+", Action.REPLACE: "±", Action.CHANGE: "~", Action.REMOVE: "-", Action.KEEP: "="}
_DOING: Final = {
    Action.CREATE: "create session {}",
    Action.REPLACE: "replace the container of session {}; files that it wrote are removed",
    Action.CHANGE: "change session {} as it runs",
    Action.REMOVE: "remove session {}",
    Action.KEEP: "session {} stays",
}


@click.command("plan")
@file_option
@format_option
def plan(file: str, form: str) -> None:
    """Print what `netvps deploy apply` would do, and change nothing.

    REVISION, in its last line, is a digest of that: `apply --at REVISION` does this and nothing else. Values of
    variables are in neither.

    \b
    Examples: netvps deploy plan
              netvps deploy plan -f shop.yaml -o json
    """  # noqa: D301 — Click means the character
    deployment, connection = read_deployment(file), client()
    made = present_plan(connection, deployment)
    runners = dict(_runners(connection, deployment, made))
    if form in {"table", "wide"}:
        print_plan(made, runners)
        emit(f"revision {made.revision}")
        note("nothing was changed" if made.is_empty else f"do this with: netvps deploy apply --at {made.revision}")
        return
    View[Plan](name=lambda one: one.revision, columns=(), json=lambda one: _json(one, runners)).print_one(made, form)


def present_plan(connection: Client, deployment: Deployment) -> Plan:
    """The plan for what the server has now. Raises AlreadyExists for names and hosts of others."""
    sessions = [
        connection.get_session(session.name) if deployment_of(session) == deployment.name else session
        for session in connection.list_sessions("")
    ]
    return make_plan(deployment, sessions, connection.list_urls())


def print_plan(made: Plan, runners: dict[str, str]) -> None:
    """Prints each step, and below it what differs."""
    width = max(len(step.name) for step in made.steps)
    for step in made.steps:
        where = f" {runners[step.session]}" if step.session in runners else ""
        emit(f"{_SIGNS[step.action]} {step.name.ljust(width)}  {_DOING[step.action].format(step.session)}{where}")
        for change in step.changes:
            emit(f"  {'':{width}}    {change}")


def _runners(connection: Client, deployment: Deployment, made: Plan) -> Iterable[tuple[str, str]]:
    """Session → where its new container would be, in words. Raises what speaks against all of its kind: a quota."""
    for step in made.steps:
        if step.service is None or step.action not in {Action.CREATE, Action.REPLACE}:
            continue
        session = connection.plan_session("", deployment.spec_of(step.service)).session
        where = f"on runner {session.runner_name}" if session.runner_name else f"once it can: {session.message}"
        yield step.session, where


def _json(made: Plan, runners: dict[str, str]) -> dict[str, Any]:
    return {"deployment": made.deployment, "revision": made.revision} | {
        "steps": [_step_json(step) | {"runner": runners.get(step.session, "")} for step in made.steps]
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {"service": step.name, "session": step.session, "action": step.action, "changes": [*step.changes]}
