"""A finding: the result of one check of `netvps doctor`, or of a diagnosis of the overlay."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is; the worst first."""

    FAIL = "FAIL"
    """Something does not work: some sessions do not reach each other, or do not start."""
    WARN = "WARN"
    """It works, but something is wrong or could not be checked."""
    OK = "OK"
    """No problem."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `remedy` is '' if there is nothing to do."""

    severity: Severity
    subject: str
    """What was checked: a session, a runner, a pair, the pool, or a part of a machine."""
    text: str
    remedy: str = ""
