"""`netvps doctor`: named checks of this machine, each with a remedy."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from netvps.cli import checks, exit_codes
from netvps.cli import checks_machine as machine
from netvps.cli.connect import context
from netvps.cli.finding import Finding, Verdict
from netvps.cli.output import emit
from netvps.cli.terminal import clean, paint
from netvps.config import paths
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from netvps.cli.contexts import Context

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def doctor(form: str) -> None:
    """Check this machine and its server, and say what to mend.

    Exit code 1 if a check fails.
    """
    found = examine(context())
    if form == "json":
        emit(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            emit(_line(finding))
    failed = any(finding.verdict is Verdict.FAIL for finding in found)
    click.get_current_context().exit(exit_codes.UNKNOWN if failed else exit_codes.OK)


def examine(context: Context) -> list[Finding]:
    """All checks. Those of this machine are left out where the server is another one."""
    answered = checks.server(context)
    serving = answered[0].verdict is Verdict.OK
    anywhere = [*answered, *([] if serving else [checks.clock()]), *checks.programs()]
    return [*anywhere, *_of_this_machine(serving=serving)] if context.address.startswith("unix:") else anywhere


def _of_this_machine(*, serving: bool) -> list[Finding]:
    state = paths().state
    try:
        settings = machine.settings_in_force(state)
    except ConfigError as error:
        return [Finding("settings", Verdict.FAIL, str(error)), machine.engine(), machine.agent()]
    return [
        machine.engine(),
        *machine.disk(state, machine.docker_root()),
        *machine.ports(settings, serving=serving),
        machine.database(settings, serving=serving),
        *machine.runner_certificate(state),
        machine.agent(),
    ]


def _line(finding: Finding) -> str:
    verdict = paint(finding.verdict.ljust(4), _COLOURS[finding.verdict], sys.stdout)
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{verdict}  {clean(finding.check):<12}  {clean(finding.text + remedy)}"
