"""What a check comes to: those of `netvps doctor`, and of `netvps network check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

import click

from netvps import exit_codes
from netvps.cli.ui.output import View, emit
from netvps.cli.ui.terminal import clean, paint

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}
_NARROW: Final = 12


class Verdict(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check; `remedy` is '' where there is nothing to do."""

    check: str
    verdict: Verdict
    text: str
    remedy: str = ""


def conclude(found: Sequence[Finding], form: str) -> None:
    """Prints what was found and ends the command: with UNKNOWN if something fails."""
    if form not in {"table", "wide"}:
        View[Finding](name=lambda finding: finding.check, columns=(), json=asdict).print_all(found, form)
    else:
        width = max([_NARROW, *(len(clean(finding.check)) for finding in found)])
        for finding in found:
            emit(_line(finding, width))
    failed = any(finding.verdict is Verdict.FAIL for finding in found)
    click.get_current_context().exit(exit_codes.UNKNOWN if failed else exit_codes.OK)


def _line(finding: Finding, width: int) -> str:
    verdict = paint(finding.verdict.ljust(4), _COLOURS[finding.verdict], sys.stdout)
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    return f"{verdict}  {clean(finding.check):<{width}}  {clean(finding.text + remedy)}"
