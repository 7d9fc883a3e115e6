"""`netvps deploy ls`, `status`, `logs`, `restart` and `rm`: deployments that are online."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.session import lifecycle
from netvps.cli.session.logs import logs as session_logs
from netvps.cli.ui.arguments import ResourceName
from netvps.cli.ui.output import Column, View, format_option
from netvps.cli.ui.usage import did_you_mean
from netvps.display.units import age
from netvps.domain.deployment.service import DEPLOYMENT_LABEL, NAMES_MAX, deployment_of, port_of, service_of
from netvps.domain.names import check_label
from netvps.domain.session.session import DesiredState
from netvps.errors import NotFound, WrongState

if TYPE_CHECKING:
    from netvps.client import Client, Session

_NAME: Final = ResourceName("deployments/", lambda name: check_label(name, "name", NAMES_MAX), lambda *_: [])
deployment_argument = click.argument("deployment", type=_NAME, metavar="DEPLOYMENT")
timeout_option = lifecycle.timeout_option


@dataclass(frozen=True)
class _Online:
    """A deployment, or one of its services, now."""

    deployment: str
    sessions: tuple[Session, ...]
    urls: tuple[str, ...] = ()

    @property
    def session(self) -> Session:
        return self.sessions[0]


@click.command("ls")
@format_option
def ls(form: str) -> None:
    """List your deployments.

    Example: netvps deploy ls
    """
    found: dict[str, list[Session]] = {}
    for session in _sessions(client(), ""):
        found.setdefault(deployment_of(session), []).append(session)
    View[_Online](
        name=lambda one: one.deployment,
        columns=(
            Column("DEPLOYMENT", lambda one: one.deployment),
            Column("SERVICES", lambda one: " ".join(service_of(session) for session in one.sessions)),
            Column("STATE", lambda one: ", ".join(dict.fromkeys(session.state for session in one.sessions))),
        ),
        json=lambda one: {"deployment": one.deployment, "services": [_json(session) for session in one.sessions]},
    ).print_all([_Online(name, tuple(sessions)) for name, sessions in sorted(found.items())], form)


@click.command("status")
@deployment_argument
@format_option
def status(deployment: str, form: str) -> None:
    """Print the services of a deployment: their states, why, and their URLs.

    Example: netvps deploy status shop
    """
    connection = client()
    services = [
        _Online(deployment, (session,), urls_of(connection, session)) for session in services_of(connection, deployment)
    ]
    View[_Online](
        name=lambda one: service_of(one.session),
        columns=(
            Column("SERVICE", lambda one: service_of(one.session)),
            Column("STATE", lambda one: one.session.state),
            Column("WHY", lambda one: one.session.message or one.session.reason),
            Column("IMAGE", lambda one: one.session.spec.image),
            Column("URL", lambda one: " ".join(one.urls)),
            Column("SESSION", lambda one: one.session.name, wide=True),
            Column("RUNNER", lambda one: one.session.runner_name, wide=True),
            Column("AGE", lambda one: age(one.session.create_time), wide=True),
        ),
        json=lambda one: _json(one.session) | {"urls": [*one.urls]},
    ).print_all(services, form)


@click.command("logs")
@deployment_argument
@click.argument("service", default="", metavar="[SERVICE]")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("--tail", type=click.IntRange(1, 100_000), default=None, metavar="N", help="Last lines: 1000.")
@click.pass_context
def logs(ctx: click.Context, deployment: str, service: str, follow: bool, tail: int | None) -> None:
    """Print what a service wrote to stdout and stderr; SERVICE may be left out if there is one.

    Example: netvps deploy logs -f shop web
    """
    found = services_of(client(), deployment, service)
    if len(found) > 1:
        names = ", ".join(service_of(session) for session in found)
        raise click.UsageError(f"deployment {deployment} has several services ({names}): name one")
    ctx.invoke(session_logs, name=found[0].name, follow=follow, tail=tail, since=None, raw=False)


@click.command("restart")
@deployment_argument
@click.argument("service", default="", metavar="[SERVICE]")
@timeout_option
@click.pass_context
def restart(ctx: click.Context, deployment: str, service: str, timeout: float) -> None:
    """Stop services and start them again, with their files; without SERVICE all of the deployment.

    Example: netvps deploy restart shop web
    """
    names = tuple(session.name for session in services_of(client(), deployment, service))
    ctx.invoke(lifecycle.restart, names=names, timeout=timeout)


@click.command("rm")
@deployment_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@timeout_option
@click.pass_context
def rm(ctx: click.Context, deployment: str, yes: bool, timeout: float) -> None:
    """Remove all services of a deployment with their files and routes, without a way back.

    Example: netvps deploy rm shop
    """
    names = tuple(session.name for session in services_of(client(), deployment))
    if not yes:
        lifecycle.confirm(
            [deployment], "deployment", f"removes {', '.join(names)} with their files, without a way back"
        )
    ctx.invoke(lifecycle.rm, names=names, yes=True, wait=True, timeout=timeout)


def services_of(connection: Client, deployment: str, service: str = "") -> list[Session]:
    """The sessions of a deployment, or the one of a service. Raises NotFound."""
    found = _sessions(connection, deployment)
    if not found:
        known = {deployment_of(session) for session in _sessions(connection, "")}
        raise NotFound(f"you have no deployment {deployment}: see netvps deploy ls{did_you_mean(deployment, [*known])}")
    named = [session for session in found if not service or service_of(session) == service]
    if not named:
        known = {service_of(session) for session in found}
        raise NotFound(f"deployment {deployment} has no service {service}: it has {', '.join(sorted(known))}")
    return named


def urls_of(connection: Client, session: Session) -> tuple[str, ...]:
    """Where a service is served; empty if nowhere."""
    if not port_of(session):
        return ()
    found = [named.uri for named in connection.list_urls(session.name) if named.uri]
    with suppress(WrongState):  # its names are too long for a host of its port
        found.append(connection.get_url(session.name, port_of(session)).uri)
    return tuple(dict.fromkeys(found))


def _sessions(connection: Client, deployment: str) -> list[Session]:
    """The sessions of one deployment, or of all, without those that are being removed."""
    return [
        session
        for session in connection.list_sessions("", f'labels.{DEPLOYMENT_LABEL}="{deployment}"' if deployment else "")
        if session.desired is not DesiredState.DELETED and deployment_of(session)
    ]


def _json(session: Session) -> dict[str, Any]:
    return {
        "service": service_of(session),
        "session": session.name,
        "state": session.state,
        "reason": session.reason,
        "message": session.message,
        "image": session.spec.image,
    }
