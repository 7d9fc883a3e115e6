"""`netvps doctor`: named checks of this machine, each with a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netvps.cli.doctor import checks
from netvps.cli.doctor import checks_machine as machine
from netvps.cli.doctor.conclusion import conclude
from netvps.cli.server.connect import context
from netvps.cli.ui.output import format_option
from netvps.config import paths
from netvps.domain.finding import Finding, Severity
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from netvps.cli.server.contexts import Context


@click.command("doctor")
@format_option
def doctor(form: str) -> None:
    """Check this machine and its server, and say what to do.

    Exit code 1 if a check fails.
    """
    conclude(examine(context()), form)


def examine(context: Context) -> list[Finding]:
    """All checks. Those of this machine are left out where the server is another one."""
    answered = checks.server(context)
    serving = answered[0].severity is Severity.OK
    anywhere = [*answered, *([] if serving else [checks.clock()]), *checks.programs()]
    return [*anywhere, *_of_this_machine(serving=serving)] if context.address.startswith("unix:") else anywhere


def _of_this_machine(*, serving: bool) -> list[Finding]:
    state = paths().state
    try:
        settings, docker = machine.settings_in_force(state), machine.docker_host(state)
        no_sessions = machine.runs_no_sessions(state)
    except ConfigError as error:
        return [Finding(Severity.FAIL, "settings", str(error)), machine.agent()]
    here = [
        *machine.ports(settings, serving=serving),
        machine.database(settings, serving=serving),
        *machine.runner_certificate(state),
    ]
    if no_sessions:
        unneeded = "not needed: the runner of this machine runs no sessions (--no-sessions)"
        return [Finding(Severity.OK, "engine", unneeded), *machine.disk(state), *here]
    return [
        machine.engine(docker),
        *machine.disk(state, machine.docker_root(docker)),
        machine.disk_limits(docker),
        machine.gpus(),
        machine.lxcfs(),
        *here,
        machine.agent(),
    ]
