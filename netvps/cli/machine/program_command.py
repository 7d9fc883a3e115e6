"""Commands that are programs of their own: one declaration, by which `netvps` and the program read their flags."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from netvps import exit_codes
from netvps.cli.ui import usage
from netvps.cli.ui.arguments import refuse_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from netvps.settings import Settings

_ARGUMENTS: Final = "netvps.arguments"
_SETTINGS_HELP: Final = (
    "Each flag can also be a variable (NETVPS_SSH_PORT) or a line of the configuration file (ssh_port)."
)


class ProgramCommand(click.Command):
    """A command that checks its flags here and then becomes the program, which reads the same flags once more.

    Flags of settings are made when they are asked for: a command beside it starts without importing the settings.
    """

    def __init__(
        self,
        name: str,
        *,
        module: str,
        summary: str,
        path: str = "",
        settings: Sequence[str] = (),
        without: Sequence[str] = (),
        in_background: bool = False,
        params: Sequence[click.Parameter] = (),
        start: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        """`module` is in netvps.programs; `path` is what is typed after `netvps`, if that is not `name`.

        `settings` are classes of netvps.settings: there is a flag for each of their fields that holds no secret and is
        not in `without`. `start` takes the arguments, in place of becoming the program.
        """
        super().__init__(name, params=[*params], help=summary, epilog=_SETTINGS_HELP if settings else None)
        self.module = module
        self.path = path or name
        self.in_background = in_background
        self._settings = tuple(settings)
        self._without = frozenset(without)
        self._start = start
        self._made: list[click.Parameter] | None = None

    def settings(self) -> list[type[Settings]]:
        """The classes of its settings."""
        import netvps.settings

        return [getattr(netvps.settings, name) for name in self._settings]

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own flags, and those of its settings."""
        if self._made is None and self._settings:
            from netvps.cli.machine.setting_options import internal_options, program_options, setting_options

            self._made = [
                *program_options(in_background=self.in_background),
                *setting_options(self.settings(), self._without),
                *internal_options(),
            ]
            self.params += self._made
            refuse_empty(self)  # again: those that are new
        return super().get_params(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Checks them, and keeps them for the program."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> None:
        """Becomes the program."""
        arguments = ctx.meta[_ARGUMENTS]
        if self._start is None:
            replace_by(self.module, arguments)
        self._start(arguments)


def parse(program: ProgramCommand, arguments: Sequence[str]) -> Mapping[str, Any]:
    """The values of a program's flags, for the program itself; those not given are None.

    Ends the process after --help, and with one line for a mistake.
    """
    name = f"netvps {program.path}"
    try:
        return program.make_context(name, [*arguments]).params
    except click.exceptions.Exit as ended:
        raise SystemExit(ended.exit_code) from None
    except click.ClickException as error:
        print(f"{name}: {usage.sentence(error)}", file=sys.stderr)
        raise SystemExit(exit_codes.USAGE) from None


def command(program: str, arguments: Sequence[str]) -> list[str]:
    """The command line of a program. Whatever lies in the current folder is no module of its (-P)."""
    return [sys.executable, "-P", "-m", f"netvps.programs.{program}", *arguments]


def replace_by(program: str, arguments: Sequence[str]) -> NoReturn:
    """Becomes the program."""
    sys.stdout.flush()
    os.execv(sys.executable, command(program, arguments))  # noqa: S606 — no shell is what we want
