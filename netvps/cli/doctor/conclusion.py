"""Prints what checks come to: those of `netvps doctor`, and of `netvps network check`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from netvps import exit_codes
from netvps.cli.ui.output import View, emit
from netvps.cli.ui.terminal import paint
from netvps.display.text import clean
from netvps.domain.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS: Final = {Severity.OK: "green", Severity.WARN: "yellow", Severity.FAIL: "red"}
_NARROW: Final = 12


def conclude(found: Sequence[Finding], form: str) -> None:
    """Prints what was found and ends the command: with UNKNOWN if something fails."""
    if form not in {"table", "wide"}:
        View[Finding](name=lambda finding: finding.subject, columns=(), json=_to_json).print_all(found, form)
    else:
        width = max([_NARROW, *(len(clean(finding.subject)) for finding in found)])
        for finding in found:
            emit(_line(finding, width))
    failed = any(finding.severity is Severity.FAIL for finding in found)
    click.get_current_context().exit(exit_codes.UNKNOWN if failed else exit_codes.OK)


def _to_json(finding: Finding) -> dict[str, str]:
    verdict = finding.severity.lower()
    return {"check": finding.subject, "verdict": verdict, "text": finding.text, "remedy": finding.remedy}


def _line(finding: Finding, width: int) -> str:
    verdict = paint(finding.severity.lower().ljust(4), _COLOURS[finding.severity], sys.stdout)
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{verdict}  {clean(finding.subject):<{width}}  {clean(finding.text + remedy)}"
