"""A runner's part of the overlay in words for a column."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netvps.domain.runner.runner import RunnerView

_SHORT: Final = 44
_ASIDE: Final = re.compile(r" \([^)]*\)")
_CLAUSE_ENDS: Final = re.compile(r"[:;] ")


def overlay(view: RunnerView) -> str:
    """Whether a runner has the overlay, and what is wrong, as short as it can be said."""
    messages = [problem.message for problem in view.runner.problems]
    if view.runner.underlay is None:
        return f"no: {short(messages[0])}" if messages else "no"
    return f"yes, but: {short(messages[0])}" if messages else "yes"


def underlay(view: RunnerView) -> str:
    """A runner's way to the others."""
    way = view.runner.underlay
    return f"{', '.join(way.addresses)} (mtu {way.mtu})" if way else ""


def gateway(view: RunnerView, now: datetime | None = None) -> str:
    """Whether a server's gateway reaches sessions from its machine."""
    until = view.runner.gateway_until
    return "yes" if until and until > (now or datetime.now(UTC)) else "no"


def problems(view: RunnerView) -> str:
    """All that is wrong, in full."""
    runner = view.runner
    messages = (runner.engine_problem, runner.isolation_problem, *(problem.message for problem in runner.problems))
    return "; ".join(message for message in messages if message)


def short(message: str) -> str:
    """What a message says first: "no overlay: changing the network needs CAP_NET_ADMIN: be root" → "changing …"."""
    rest = _ASIDE.sub("", message.removeprefix("no overlay: "))
    clause = _CLAUSE_ENDS.split(rest, maxsplit=1)[0].strip()
    return clause if len(clause) <= _SHORT else f"{clause[: _SHORT - 1].rstrip()}…"
