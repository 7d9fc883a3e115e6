"""What a check of `netvps doctor` comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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
