"""What the programs share on their way in and out: flags from settings, one line per error, exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netvps import __version__, log
from netvps.cli import exit_codes
from netvps.programs.background import start_in_background
from netvps.programs.process import allow_many_files, beating, die_with, fail, guarded, run_to_end
from netvps.programs.readiness import Readiness
from netvps.settings import Settings, load, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its name after `netvps`, a sentence, its settings, and what it does until it is stopped.

    `run` takes one argument for each class in `settings`, then the Readiness. `without` are settings that make no
    sense for it.
    """

    name: str
    summary: str
    settings: tuple[type[Settings], ...]
    run: Callable[..., Coroutine[Any, Any, None]]
    without: frozenset[str] = frozenset()
    in_background: bool = False
    """Whether it leaves the terminal unless told to stay."""

    def fields(self) -> dict[str, str]:
        """Its flags, without secrets (argv is there for everybody to read): name of the setting and help."""
        secret = {name for settings in self.settings for name in secrets_of(settings)} | self.without
        found: dict[str, str] = {}
        for settings in self.settings:
            for name, field in settings.model_fields.items():
                default = f" (default {field.default})" if isinstance(field.default, str | int | float) else ""
                if name not in secret:
                    found[name] = f"{field.description}{default}"
        return found


def launch(program: Program, argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code. Errors are one line on stderr, and told to whoever waits."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser_of(program).parse_args(argv)
    readiness = Readiness(arguments.ready_fd, arguments.beat_every)
    return guarded(program.name, lambda: _launch(program, arguments, argv, readiness), readiness.failed)


def _launch(program: Program, arguments: argparse.Namespace, argv: Sequence[str], readiness: Readiness) -> int:
    die_with(arguments.parent)
    log.set_up(program.name, verbose=arguments.verbose)
    allow_many_files()
    if arguments.config is not None:
        os.environ["NETVPS_CONFIG"] = str(arguments.config.absolute())  # for the processes we start, too
    settings = [load(kind, _flags(kind, program, arguments)) for kind in program.settings]
    if program.in_background and not arguments.foreground:
        return _start(program, settings, argv)
    run_to_end(beating(program.run(*settings, readiness), readiness))
    return exit_codes.OK


def _start(program: Program, settings: Sequence[Settings], argv: Sequence[str]) -> int:
    """Starts the program in the background; returns once it serves, or failed to."""
    folders = settings[0].paths
    folders.prepare()
    log_file = folders.state / f"{program.name}.log"
    outcome = start_in_background(program.name, argv, log_file)
    if outcome.error:
        return fail(program.name, outcome.error, outcome.code)
    print(f"netvps runs; its log is {log_file}", file=sys.stderr)  # noqa: T201 — progress
    return 0


def parser_of(program: Program) -> argparse.ArgumentParser:
    """Its command line."""
    parser = argparse.ArgumentParser(
        prog=f"netvps {program.name}",
        description=program.summary,
        epilog="Each flag can also be a variable (NETVPS_SSH_PORT) or a line of the configuration file (ssh_port).",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"netvps {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings (NETVPS_CONFIG)")
    parser.add_argument("--verbose", action="store_true", help="log what is of interest to developers too")
    if program.in_background:
        parser.add_argument("--foreground", action="store_true", help="stay in the foreground, and log to stderr")
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--beat-every", type=float, help=argparse.SUPPRESS)
    for name, text in program.fields().items():
        parser.add_argument("--" + name.replace("_", "-"), metavar=name.rsplit("_", 1)[-1].upper(), help=text)
    return parser


def _flags(settings: type[Settings], program: Program, arguments: argparse.Namespace) -> dict[str, Any]:
    known = program.fields().keys() & settings.model_fields.keys()
    return {name: value for name in known if (value := getattr(arguments, name)) is not None}
