"""Common entry of the long-running programs: flags from settings, one line per error, exit codes."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from netvps import exit_codes, log
from netvps.cli.machine.program_command import ProgramCommand, parse
from netvps.process.background import start_in_background
from netvps.process.process import allow_many_files, beating, die_with, fail, guarded, run_to_end
from netvps.process.readiness import Readiness
from netvps.programs.wiring.remembered import CONFIG, forget, recall, remember, words
from netvps.programs.wiring.running import find, plain, where
from netvps.settings import Settings, load, warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Program:
    """A program: its command, and the coroutine that it runs until it is stopped.

    `run` takes one argument for each class in the command's settings, then the Readiness.
    """

    command: ProgramCommand
    run: Callable[..., Coroutine[Any, Any, None]]

    @property
    def name(self) -> str:
        """The command after `netvps`."""
        return self.command.path


def launch(program: Program, argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code. An error is one line on stderr, also reported to the parent."""
    argv = sys.argv[1:] if argv is None else argv
    given = parse(program.command, argv)
    readiness = Readiness(given["ready_fd"], given["beat_every"])
    return guarded(program.name, lambda: _launch(program, given, argv, readiness), readiness.failed)


def _launch(program: Program, given: Mapping[str, Any], argv: Sequence[str], readiness: Readiness) -> int:
    die_with(given["parent"])
    log.set_up(program.name, verbose=given["verbose"])
    allow_many_files()
    earlier = _earlier(program, given)
    if (config := given["config"] or earlier.pop(CONFIG, None)) is not None:
        os.environ["NETVPS_CONFIG"] = str(Path(config).absolute())  # for child processes, too
    settings = [
        load(kind, {name: given.get(name) for name in kind.model_fields}, remembered=earlier)
        for kind in program.command.settings()
    ]
    for warning in dict.fromkeys(warning for one in settings for warning in warnings(one)):
        structlog.get_logger().warning("unsafe setting", reason=warning)
    if program.command.in_background:
        flags = earlier | _flags(given, settings)
        if not given["foreground"]:
            return _start(program, settings, flags, given, argv)
        kept = flags | ({CONFIG: os.environ["NETVPS_CONFIG"]} if config is not None else {})
        readiness.when_ready = partial(remember, settings[0].paths.state, kept)
    run_to_end(beating(program.run(*settings, readiness), readiness))
    return exit_codes.OK


def _earlier(program: Program, given: Mapping[str, Any]) -> dict[str, str]:
    """The flags of earlier starts, if the program stores them."""
    if not program.command.in_background:
        return {}
    if given.get("reset_flags"):
        forget(given["state_dir"])
    return recall(given["state_dir"])


def _flags(given: Mapping[str, Any], settings: Sequence[Settings]) -> dict[str, str]:
    """The settings given as flags of this start, with full values."""
    return {name: value for name, value in plain(settings).items() if given.get(name) is not None}


def _start(
    program: Program,
    settings: Sequence[Settings],
    flags: Mapping[str, str],
    given: Mapping[str, Any],
    argv: Sequence[str],
) -> int:
    """Starts the program in the background unless it runs already; returns when it serves or has failed."""
    folders = settings[0].paths
    folders.prepare()
    log_file = folders.state / f"{program.name}.log"
    if (running := find(folders.state)) is not None:
        running.refuse_other(_flags(given, settings), settings)
        _say(f"netvps already runs, {running.describe()}; its log is {log_file}")
        return exit_codes.OK
    outcome = start_in_background(program.name, argv, log_file)
    if outcome.error:
        return fail(program.name, outcome.error, outcome.code)
    _say(f"netvps runs: {where(plain(settings))}; its log is {log_file}")
    if kept := words(flags):
        _say(f"kept for the next start: {kept}; `netvps up --reset-flags` forgets them")
    return exit_codes.OK


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201 — progress
