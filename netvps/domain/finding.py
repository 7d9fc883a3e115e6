"""A finding of a diagnosis of the overlay."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """Effect of a finding on sessions; the worst first."""

    FAIL = "FAIL"
    """Some sessions do not reach each other."""
    WARN = "WARN"
    """Sessions reach each other, but something is wrong or could not be checked."""
    OK = "OK"
    """No problem."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `remedy` is '' if there is nothing to do."""

    severity: Severity
    subject: str
    """What was checked: a session, a runner, a pair, or the pool."""
    text: str
    remedy: str = ""
