"""Commands that are programs of their own, and take the place of this process: they need all of netvps."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALL_ARGUMENTS = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command("server", add_help_option=False, context_settings=_ALL_ARGUMENTS)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def server(arguments: tuple[str, ...]) -> None:
    """Run a control plane with its gateway, in the foreground."""
    replace_by("server", arguments)


@click.command("backup", add_help_option=False, context_settings=_ALL_ARGUMENTS)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def backup(arguments: tuple[str, ...]) -> None:
    """Copy the server's database and CA into one file, while the server runs."""
    replace_by("backup", arguments)


@click.command("restore", add_help_option=False, context_settings=_ALL_ARGUMENTS)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def restore(arguments: tuple[str, ...]) -> None:
    """Put a backup in the place of the server's database and CA."""
    replace_by("restore", arguments)


@click.group("env")
def env() -> None:
    """Environments: the images that sessions are made from."""


@env.command("bootstrap", add_help_option=False, context_settings=_ALL_ARGUMENTS)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bootstrap(arguments: tuple[str, ...]) -> None:
    """Make a Debian environment from this machine's own package source, without any registry."""
    replace_by("bootstrap", arguments)


def command(program: str, arguments: Sequence[str]) -> list[str]:
    """The command line of a program. Whatever lies in the current folder is no module of its (-P)."""
    return [sys.executable, "-P", "-m", f"netvps.programs.{program}", *arguments]


def replace_by(program: str, arguments: Sequence[str]) -> NoReturn:
    """Becomes the program."""
    sys.stdout.flush()
    os.execv(sys.executable, command(program, arguments))  # noqa: S606 — no shell is what we want
