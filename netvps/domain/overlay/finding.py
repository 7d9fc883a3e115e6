"""What a look at the overlay comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding means for sessions; the worst first."""

    FAIL = "FAIL"
    """Some do not reach each other."""
    WARN = "WARN"
    """They do, and something is wrong, or could not be looked at."""
    OK = "OK"
    """It is well."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` is '' where there is nothing to do."""

    severity: Severity
    subject: str
    """A session, a runner, two of them, or the pool, for people."""
    text: str
    remedy: str = ""
