"""Options of `netvps ssh` for terminals that outlive their connections: --persist, --terminal, --list, --watch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

VARIABLE: Final = "NETVPS_TERMINAL"
"""How ssh asks the agent for such a terminal: -o SetEnv=NETVPS_TERMINAL=LABEL."""
SUBSYSTEM: Final = "terminals@netvps"
"""Prints those that are kept."""
_DEFAULT: Final = "main"
_LABEL: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class KeptTerminal:
    """What was asked for."""

    def __init__(self) -> None:
        self.label = ""
        """'' : none is asked for."""
        self.watch = False
        self._lists = False

    def takes(self, word: str, following: Callable[[str], str]) -> bool:
        """Whether a word is one of the options; `following` takes the value after it. Raises a usage error."""
        name, equals, value = word.partition("=")
        match name:
            case "--persist" if not equals:
                self.label = self.label or _DEFAULT
            case "--terminal":
                self.label = value if equals else following(name)
                if not _LABEL.fullmatch(self.label):
                    raise click.BadParameter(
                        f"{self.label!r} is not a label: use up to 32 lower-case letters, digits and '-'",
                        param_hint="--terminal",
                    )
            case "--list" if not equals:
                self._lists = True
            case "--watch" if not equals:
                self.watch = True
            case _:
                return False
        if bool(self.label) + self._lists + self.watch > 1:
            raise click.UsageError("--persist (or --terminal), --list and --watch exclude each other: give one of them")
        return True

    def apply(self, options: Sequence[str], command: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The options and the command for ssh. Raises a usage error for a command that cannot be run so."""
        if self.watch:
            if len(command) > 1:
                raise click.UsageError("--watch takes the label of one terminal, or none")
            return (*options, "-t"), tuple(command)
        if command and (self.label or self._lists):
            raise click.UsageError("--persist and --list run no command: leave it out")
        if self._lists:
            return (*options, "-s"), (SUBSYSTEM,)
        if self.label:
            return (*options, "-t", "-o", f"SetEnv={VARIABLE}={self.label}"), ()
        return tuple(options), tuple(command)


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command of click, which knows those before NAME."""
    for names, text in (
        (("--watch",), "Read along on such a terminal: the one used last, or the one that COMMAND names."),
        (("--list", "lists"), "Print the terminals that are kept."),
    ):
        command = click.option(*names, is_flag=True, help=text)(command)
    text = "Another such terminal than the one called main."
    command = click.option("--terminal", default="", metavar="LABEL", help=text)(command)
    text = "Use a terminal that stays when the connection is lost."
    return click.option("--persist", is_flag=True, help=text)(command)


def words_of(*, persist: bool, terminal: str, lists: bool, watch: bool) -> list[str]:
    """The options that click took, as words before NAME."""
    flags = {"--persist": persist, "--list": lists, "--watch": watch}
    return [name for name, given in flags.items() if given] + ([f"--terminal={terminal}"] if terminal else [])
