"""`netvps network`: the overlay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netvps.cli.doctor.conclusion import conclude
from netvps.cli.machine.network_peers import peers
from netvps.cli.machine.overlay_words import overlay, problems, underlay
from netvps.cli.machine.programs import purge
from netvps.cli.scheduling.address import reserve
from netvps.cli.server.connect import client
from netvps.cli.session.sessions import to_json
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import Column, View, emit, format_option, print_fields

if TYPE_CHECKING:
    from netvps.domain.overlay.settings import Overview
    from netvps.domain.runner.runner import RunnerView


@click.group("network")
def network() -> None:
    """The overlay: one network over all runners."""


@network.command("show")
@format_option
def show(form: str) -> None:
    """Tell what the overlay is made of, and which runners are on it."""
    connection = client()
    seen = connection.get_network()
    if form not in {"table", "wide"}:
        _overview().print_one(seen, form)
        return
    print_fields(_facts(seen))
    found = list(connection.list_runners())
    if found:
        emit("")
        _members().print_all(found, form)


network.add_command(peers)


@network.command("check")
@click.argument("sessions", nargs=-1, metavar="[SESSION [SESSION]]", type=SESSION)
@format_option
def check(sessions: tuple[str, ...], form: str) -> None:
    """Find out why two sessions do not reach each other, and say what to do.

    With one session: why it may not reach others. Without: what is wrong with the overlay.
    Exit code 1 if something is in the way.

    Example: netvps network check web db
    """
    if len(sessions) > 2:  # noqa: PLR2004 — a pair
        raise click.UsageError("name two sessions that should reach each other, one, or none")
    conclude(client().check_network(sessions), form)


network.add_command(reserve)
network.add_command(purge)


def _facts(seen: Overview) -> list[tuple[str, str]]:
    overlay_settings = seen.overlay_settings
    return [
        ("pool", f"{overlay_settings.pool}, a /{seen.prefix} for each runner"),
        ("vxlan", f"identifier {overlay_settings.vni}, UDP port {overlay_settings.port}"),
        ("subnets", f"{seen.subnets_used} used, {seen.subnets_free} free"),
        ("runners", f"{seen.runners_on} on the overlay" + (f", {seen.runners_off} not" if seen.runners_off else "")),
        ("sessions", f"{seen.sessions} with an address"),
        ("netmap", f"generation {seen.generation}"),
    ]


def _overview() -> View[Overview]:
    return View(name=lambda seen: seen.overlay_settings.pool, columns=(), json=to_json)


def _members() -> View[RunnerView]:
    return View(
        name=lambda view: view.runner.name,
        columns=(
            Column("NAME", lambda view: view.runner.name),
            Column("STATE", lambda view: view.runner.state),
            Column("OVERLAY", overlay),
            Column("SUBNET", lambda view: view.lease.cidr),
            Column("UNDERLAY", underlay),
            Column("SESSIONS", lambda view: str(view.session_count), wide=True),
            Column("PROBLEMS", problems, wide=True),
        ),
        json=to_json,
    )
