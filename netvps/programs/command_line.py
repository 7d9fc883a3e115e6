"""What the programs share on their way in and out: flags from settings, one line per error, exit codes."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import errno
import faulthandler
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from netvps import __version__, log
from netvps.cli import exit_codes
from netvps.errors import Exhausted, InternalError, NetvpsError, Unavailable
from netvps.programs.background import start_in_background
from netvps.programs.readiness import Readiness
from netvps.settings import Settings, load, secrets_of
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

_PR_SET_PDEATHSIG = 1
_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


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


def guarded(name: str, work: Callable[[], int], failed: Callable[[str, int], None] = lambda _error, _code: None) -> int:
    """Does the work and returns its exit code; one for an error, which is one line on stderr and told to `failed`."""
    try:
        return work()
    except NetvpsError as error:
        failed(str(error), exit_codes.of(error))
        return _fail(name, str(error), exit_codes.of(error))
    except KeyboardInterrupt:
        return _fail(name, "cancelled", exit_codes.CANCELLED)


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs a program's coroutine. Raises NetvpsError only, and lets Ctrl-C pass: whatever else it is, is a bug."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_unwrapped(work))


def _launch(program: Program, arguments: argparse.Namespace, argv: Sequence[str], readiness: Readiness) -> int:
    _die_with(arguments.parent)
    log.set_up(program.name, verbose=arguments.verbose)
    allow_many_files()
    if arguments.config is not None:
        os.environ["NETVPS_CONFIG"] = str(arguments.config.absolute())  # for the processes we start, too
    settings = [load(kind, _flags(kind, program, arguments)) for kind in program.settings]
    if program.in_background and not arguments.foreground:
        return _start(program, settings, argv)
    run_to_end(_beating(program.run(*settings, readiness), readiness))
    return exit_codes.OK


def _start(program: Program, settings: Sequence[Settings], argv: Sequence[str]) -> int:
    """Starts the program in the background; returns once it serves, or failed to."""
    folders = settings[0].paths
    folders.prepare()
    log_file = folders.state / f"{program.name}.log"
    outcome = start_in_background(program.name, argv, log_file)
    if outcome.error:
        return _fail(program.name, outcome.error, outcome.code)
    print(f"netvps runs; its log is {log_file}", file=sys.stderr)  # noqa: T201 — progress
    return 0


def _fail(name: str, sentence: str, code: int) -> int:
    print(f"netvps {name}: {sentence}", file=sys.stderr)  # noqa: T201 — the one line
    return code


async def _beating(program: Coroutine[Any, Any, None], readiness: Readiness) -> None:
    """The program, showing signs of life for as long as it runs."""
    async with Tasks() as tasks:
        tasks.start(readiness.beat(), name="signs of life")
        await program


async def _unwrapped(program: Coroutine[Any, Any, None]) -> None:
    try:
        await program
    except BaseExceptionGroup as group:
        raise _first(group) from group
    except (NetvpsError, asyncio.CancelledError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_TROUBLE:
            raise Exhausted(
                f"{error.strerror}: {error.filename or 'a file'}; see to the disk, then start again"
            ) from error
        structlog.get_logger().exception("the program failed")
        raise InternalError(f"a bug of netvps ended this program ({type(error).__name__}); see its log") from error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a user should hear of several errors at once: the first one made for users, else that it is a bug."""
    ours, rest = group.split(NetvpsError)
    if rest is not None:
        structlog.get_logger().error("the program failed", exc_info=rest)
    found: BaseException | None = ours
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or InternalError("a bug of netvps ended this program; see its log")


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


def allow_many_files() -> None:
    """Takes as many open files as this account may have: a connection needs one or two, and the usual 1,024 are few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _die_with(parent: int | None) -> None:
    """Asks the kernel for SIGTERM when the parent dies, however it dies; its Ctrl-C is the parent's to pass on."""
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1, 2)  # standard error: the parent asks where we hang, before it kills us
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before we asked
        raise Unavailable("the program that started this one is gone")
