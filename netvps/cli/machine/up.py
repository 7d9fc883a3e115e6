"""`netvps up`: everything on this machine, started in the background."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.access import config_ssh
from netvps.cli.machine import service
from netvps.cli.machine.down import end
from netvps.cli.machine.program_command import ProgramCommand, command, replace_by
from netvps.cli.server.contexts import local
from netvps.cli.ui.output import note
from netvps.cli.ui.progress import TICK, progress
from netvps.display.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from netvps.cli.ui.progress import Progress

_NEWS: Final = 5.0
"""Seconds between two lines of progress."""


def _run(arguments: Sequence[str]) -> None:
    """Starts the program in the background, and says how its start went."""
    params = click.get_current_context().params
    unit = service.check(params["state_dir"]) if params["install"] else ""
    if params["restart"]:
        _check(params)
        end(params["state_dir"])
    if params["foreground"]:
        replace_by("up", arguments)
    code, said = _start(arguments)
    if code:
        click.echo(
            said or "netvps: `up` did not start, and said nothing; `netvps doctor` checks this machine", err=True
        )
        click.get_current_context().exit(code)
    for line in (said or "netvps runs").splitlines():
        note(line)
    if unit:
        service.write(unit)
    if service.installed() and not service.active():
        end(params["state_dir"])  # it started with its flags, which are kept: systemd can take over
        service.start()
    config_ssh.refresh(local())
    note("next: netvps create")


def _check(params: Mapping[str, object]) -> None:
    """Raises ConfigError for settings with which it would not start, before the running one is ended."""
    from netvps.settings import load

    command_ = click.get_current_context().command
    assert isinstance(command_, ProgramCommand)  # noqa: S101 — the only command that comes here
    for kind in command_.settings():
        load(kind, {name: params.get(name) for name in kind.model_fields})


def _start(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code of the start, and what the program said. Ctrl-C is passed on, and what was started ends."""
    said: list[str] = []
    with (
        _ctrl_c() as pressed,
        subprocess.Popen(
            command("up", arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
        progress() as shown,
    ):
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        _wait(process, reader, shown, pressed)
        reader.join(1.0)
    return process.returncode, "\n".join(clean(line) for line in said if line.strip())


@contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """Notes Ctrl-C instead of being interrupted by it, at whatever place that would be."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(process: subprocess.Popen[str], reader: threading.Thread, shown: Progress, pressed: list[int]) -> None:
    """Waits for the end of the process, with progress."""
    began = said = time.monotonic()
    doing, passed_on = "starting control plane, gateway and runner", 0
    shown.show(doing)
    while process.poll() is None:
        reader.join(TICK)
        if process.poll() is None and not reader.is_alive():
            time.sleep(TICK)
        now = time.monotonic()
        if len(pressed) > passed_on:
            passed_on = len(pressed)
            doing, said = "ending what was started", now
            shown.show(doing)
            process.send_signal(signal.SIGINT)  # the terminal sent one as well; `kill -INT` did not
        if now - said >= _NEWS:
            said = now
            shown.show(f"{doing} ({now - began:.0f} s)")
        shown.tick()


up: Final = ProgramCommand(
    "up",
    module="up",
    settings=("ServerSettings", "RunnerSettings"),
    without=("server", "link", "join_token_file"),
    in_background=True,
    start=_run,
    params=[
        click.Option(["--restart"], is_flag=True, help="End the one that runs first; sessions keep running."),
        click.Option(["--reset-flags"], is_flag=True, help="Forget the flags of earlier starts."),
        click.Option(["--install"], is_flag=True, help="Let systemd start it now, and at each boot."),
    ],
    summary="""Start control plane, gateway and a runner on this machine.

    They go into the background, and `netvps down` ends them. The flags are kept for the next start; a variable or a new
    value of a flag comes before a kept one.

    Example: netvps up --listen 0.0.0.0
    """,
)
