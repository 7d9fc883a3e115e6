"""`netvps context`: which server commands talk to."""

from __future__ import annotations

from typing import Any

import click

from netvps.cli.access.login import fingerprint
from netvps.cli.access.ssh_files import SshFiles
from netvps.cli.help.completion import complete_context
from netvps.cli.server import connect, contexts
from netvps.cli.server.contexts import ENVIRONMENT
from netvps.cli.ui.output import Column, View, emit, format_option, note


@click.group("context")
def context() -> None:
    """Servers that you know; `local` is this machine."""


@context.command("ls")
@format_option
def ls(form: str) -> None:
    """List contexts; the one in force has a star."""
    in_force = contexts.resolve(click.get_current_context().find_root().obj).name
    found = [contexts.resolve(name) for name in contexts.names()]
    if in_force == ENVIRONMENT:
        found.append(contexts.resolve())

    def json(one: contexts.Context) -> dict[str, Any]:
        return {"name": one.name, "address": one.address, "current": one.name == in_force}

    shown: View[contexts.Context] = View(
        name=lambda one: one.name,
        columns=(
            Column("", lambda one: "*" if one.name == in_force else ""),
            Column("NAME", lambda one: one.name),
            Column("ADDRESS", lambda one: one.address),
        ),
        json=json,
    )
    shown.print_all(found, form)


@context.command("use")
@click.argument("name", shell_complete=complete_context)
def use(name: str) -> None:
    """Choose the context of commands that name none.

    Example: netvps context use local
    """
    contexts.use(name)
    SshFiles().reorder()
    emit(name)
    note(f"commands talk to {contexts.resolve(name).address} from now on")


@context.command("show")
@click.argument("name", default="", shell_complete=complete_context)
@click.option("--ca", is_flag=True, help="Print the certificate of the server's CA (PEM), and nothing else.")
@format_option
def show(name: str, ca: bool, form: str) -> None:
    """Print a context (by default the one in force), without its API key.

    Example: netvps context show --ca > ca.pem
    """
    from netvps.domain.server import INTERNAL_NAME

    found = contexts.resolve(name or click.get_current_context().find_root().obj)
    certificate = found.ca_certificate or _ca_of(found)
    if ca:
        emit(certificate.strip())
        return
    facts = {
        "name": found.name,
        "address": found.address,
        "caFingerprint": fingerprint(certificate),
        "targetName": INTERNAL_NAME,
        "apiKey": "known" if found.api_key else "none",
    }
    if form not in {"table", "wide"}:
        shown: View[dict[str, str]] = View(name=lambda one: one["name"], columns=(), json=lambda one: one)
        shown.print_one(facts, form)
        return
    for title, value in zip(("name", "address", "CA, SHA-256", "target name", "API key"), facts.values(), strict=True):
        emit(f"{title:<12} {value}")


def _ca_of(found: contexts.Context) -> str:
    """The server of this machine is asked: the kernel vouches for it."""
    with connect.dial(found) as client:
        return client.server_info().ca_certificate
