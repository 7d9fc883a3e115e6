"""`netvps up`: everything on this machine, started in the background."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.output import note
from netvps.cli.program_command import ProgramCommand, command, replace_by
from netvps.cli.progress import TICK, progress
from netvps.cli.terminal import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

_NEWS: Final = 5.0
"""Seconds between two lines of progress."""


def _run(arguments: Sequence[str]) -> None:
    """Starts the program in the background, and says how its start went."""
    if click.get_current_context().params["foreground"]:
        replace_by("up", arguments)
    code, said = _start(arguments)
    if code:
        click.echo(
            said or "netvps: `up` did not start, and said nothing; `netvps doctor` checks this machine", err=True
        )
        click.get_current_context().exit(code)
    note(said or "netvps runs")
    note("next: netvps create")


def _start(arguments: Sequence[str]) -> tuple[int, str]:
    """Exit code of the start, and what the program said: one line."""
    began = time.monotonic()
    with (
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
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True)
        reader.start()
        shown.say("starting control plane, gateway and runner")
        told = 0.0
        while process.poll() is None:
            reader.join(TICK)
            if process.poll() is None and not reader.is_alive():
                time.sleep(TICK)
            if time.monotonic() - began - told >= _NEWS:
                told = time.monotonic() - began
                shown.say(f"starting control plane, gateway and runner ({told:.0f} s)")
            shown.tick()
        reader.join(1.0)
    return process.returncode, "\n".join(clean(line) for line in said if line.strip())


up: Final = ProgramCommand(
    "up",
    module="up",
    settings=("ServerSettings", "RunnerSettings"),
    without=("server", "link", "join_token_file"),
    in_background=True,
    start=_run,
    summary="""Start control plane, gateway and a runner on this machine.

    They go into the background, and `netvps down` ends them.

    Example: netvps up --listen 0.0.0.0
    """,
)
