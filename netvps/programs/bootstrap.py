"""`netvps env bootstrap`: builds an environment (an image for sessions) on this machine's Docker engine."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.files.debootstrap import bootstrap, ensure_environment
from netvps.cli.env.pull import followed
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.cli.server.connect import dial
from netvps.cli.server.contexts import resolve
from netvps.cli.ui.progress import progress
from netvps.errors import InvalidInput
from netvps.process.process import guarded, run_to_end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

_NAME: Final = "env bootstrap"
_EVERY: Final = 5.0
"""Seconds between two lines of progress if the output is no terminal."""


class ProgressLine:
    """Progress output: one line that is redrawn on a terminal, else a line at intervals."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._on_terminal = output.isatty()
        self._written = float("-inf")

    def show(self, text: str) -> None:
        """Shows the current activity."""
        if self._on_terminal:
            self._output.write(f"\r\x1b[K{text}")
        elif time.monotonic() - self._written >= _EVERY:
            self._written = time.monotonic()
            self._output.write(f"{text}\n")
        self._output.flush()

    def end(self) -> None:
        """Clears the line on a terminal."""
        if self._on_terminal:
            self._output.write("\r\x1b[K")
            self._output.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = parse(programs.bootstrap, sys.argv[1:] if argv is None else argv)
    return guarded(_NAME, lambda: _main(given))


def _main(given: Mapping[str, Any]) -> int:
    if given["suite"] and given["or_pull"]:
        raise InvalidInput.of("--or-pull", "excludes --suite: give one of the two")
    if given["runner"]:
        _run_there(given)
    else:
        run_to_end(_run(given))
    return 0


def _run_there(given: Mapping[str, Any]) -> None:
    """Lets a runner do it, through the server."""
    for option in ("or_pull", "docker_host"):
        if given[option]:
            raise InvalidInput.of("--runner", f"excludes --{option.replace('_', '-')}: give one of the two")
    with dial(resolve(given["context"])) as client, progress() as shown:
        steps = client.bootstrap_image(given["runner"], given["name"], suite=given["suite"], mirror=given["mirror"])
        made = followed(steps, f"runner {given['runner']}", shown)
    print(made.reference)  # noqa: T201 — stdout is data


async def _run(given: Mapping[str, Any]) -> None:
    docker = await Docker.open(given["docker_host"])
    line = ProgressLine(sys.stderr)
    try:
        if given["or_pull"]:
            reference = await ensure_environment(docker, given["name"], given["or_pull"], line.show)
        else:
            reference = await bootstrap(docker, given["name"], line.show, suite=given["suite"], mirror=given["mirror"])
    finally:
        line.end()
        docker.close()
    print(reference)  # noqa: T201 — stdout is data


if __name__ == "__main__":
    sys.exit(main())
