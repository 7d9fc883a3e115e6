"""`netvps context`: which server commands talk to."""

from __future__ import annotations

from typing import Any

import click

from netvps.cli import contexts
from netvps.cli.output import Column, View, emit, format_option, note
from netvps.cli.ssh_files import SshFiles


@click.group("context")
def context() -> None:
    """Servers that you know; `local` is this machine."""


@context.command("ls")
@format_option
def ls(form: str) -> None:
    """List contexts; the one in force has a star."""
    in_force = contexts.resolve(click.get_current_context().find_root().obj).name
    found = [contexts.resolve(name) for name in contexts.names()]

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
@click.argument("name")
def use(name: str) -> None:
    """Choose the context of commands that name none.

    Example: netvps context use local
    """
    contexts.use(name)
    SshFiles().reorder()
    emit(name)
    note(f"commands talk to {contexts.resolve(name).address} from now on")
