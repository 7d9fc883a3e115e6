"""`netvps status`: the server, its runners and its sessions at a glance."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from netvps import __version__
from netvps.cli.server.connect import client, context
from netvps.cli.server.skew import skew_hint
from netvps.cli.ui.output import Column, View, format_option, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.cli.server.contexts import Context
    from netvps.client import Client

_PROBLEMS: Final = 3
"""Runners with a problem that are named."""


@dataclass(frozen=True, slots=True)
class Status:
    """What one look at a server finds."""

    context: str
    address: str
    version: str
    user: str
    role: str
    runners: Mapping[str, int]
    """By state."""
    problems: tuple[str, ...]
    """Of runners, each in a sentence."""
    sessions: Mapping[str, int]
    """The caller's own, by state."""


@click.command("status")
@format_option
def status(form: str) -> None:
    """Print which server you use, who you are there, and how its runners and your sessions are.

    Example: netvps status
    """
    found = look(client(), context())
    View(name=lambda one: one.context, columns=_COLUMNS, json=_json).print_one(found, form)
    if hint := skew_hint(found.version):
        note(hint)


def look(server: Client, where: Context) -> Status:
    """Asks the server."""
    info, user = server.server_info(), server.get_user("me")
    views = [*server.list_runners()]
    failing = [view.runner for view in views if view.runner.engine_problem]
    return Status(
        context=where.name,
        address=where.address,
        version=info.version,
        user=user.name,
        role=user.role.lower(),
        runners=Counter(str(view.runner.state) for view in views),
        problems=tuple(f"{runner.name}: {runner.engine_problem}" for runner in failing[:_PROBLEMS]),
        sessions=Counter(str(session.state) for session in server.list_sessions("")),
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none"


_COLUMNS: Final[tuple[Column[Status], ...]] = (
    Column("CONTEXT", lambda one: one.context),
    Column("SERVER", lambda one: f"{one.address} (netvps {one.version})"),
    Column("CLIENT", lambda _: f"netvps {__version__}"),
    Column("USER", lambda one: f"{one.user} ({one.role})"),
    Column("RUNNERS", lambda one: _counts(one.runners)),
    Column("PROBLEMS", lambda one: "; ".join(one.problems)),
    Column("SESSIONS", lambda one: _counts(one.sessions)),
)


def _json(one: Status) -> dict[str, Any]:
    return {
        "context": one.context,
        "address": one.address,
        "serverVersion": one.version,
        "clientVersion": __version__,
        "user": one.user,
        "role": one.role,
        "runners": dict(one.runners),
        "problems": [*one.problems],
        "sessions": dict(one.sessions),
    }
