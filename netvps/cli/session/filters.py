"""Which sessions `netvps ls` prints, and in what order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from netvps.domain.session.session import Session

# Not from SessionState: its module takes as long to import as all else of `netvps create --help`.
STATES: Final = (
    "pending",
    "preparing",
    "starting",
    "running",
    "paused",
    "stopping",
    "snapshotting",
    "stopped",
    "failed",
    "unreachable",
)


def order_by(sort: str) -> str:
    """The order of --sort as the API has it; the age is its word for the time of creation."""
    return re.sub(r"\bage\b", "create_time", sort)


def wanted_labels(words: Iterable[str]) -> dict[str, str | None]:
    """Labels of KEY=VALUE, and of KEY alone with any value. Raises a usage error."""
    found: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key:
            raise click.BadParameter(f"{word!r} is not KEY or KEY=VALUE: give for example -l team=x", param_hint="-l")
        found[key] = value if equals else None
    return found


def matches(session: Session, labels: Mapping[str, str | None], states: Collection[str]) -> bool:
    """Whether a session has all these labels, and one of these states if there are any."""
    own = session.spec.labels
    labelled = all(key in own and value in {None, own[key]} for key, value in labels.items())
    return labelled and (not states or session.state.lower() in states)
