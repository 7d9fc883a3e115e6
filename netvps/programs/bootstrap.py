"""`netvps env bootstrap`: makes an environment, the image that sessions start from, on this machine's Docker engine."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Final

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.debootstrap import bootstrap, ensure_environment
from netvps.programs.process import guarded, run_to_end

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

_NAME: Final = "env bootstrap"
_EVERY: Final = 5.0
"""Seconds between two lines of progress off a terminal."""


class ProgressLine:
    """What goes on, on one line that changes where there is a terminal, else as a line now and then."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._on_terminal = output.isatty()
        self._told = float("-inf")

    def say(self, text: str) -> None:
        """Shows what is being done now."""
        if self._on_terminal:
            self._output.write(f"\r\x1b[K{text}")
        elif time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            self._output.write(f"{text}\n")
        self._output.flush()

    def end(self) -> None:
        """Leaves the terminal's line empty."""
        if self._on_terminal:
            self._output.write("\r\x1b[K")
            self._output.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    return guarded(_NAME, lambda: _main(arguments))


def _main(arguments: argparse.Namespace) -> int:
    run_to_end(_run(arguments))
    return 0


async def _run(arguments: argparse.Namespace) -> None:
    docker = await Docker.open(arguments.docker_host)
    line = ProgressLine(sys.stderr)
    try:
        if arguments.or_pull:
            reference = await ensure_environment(docker, arguments.name, arguments.or_pull, line.say)
        else:
            reference = await bootstrap(
                docker, arguments.name, line.say, suite=arguments.suite, mirror=arguments.mirror
            )
    finally:
        line.end()
        docker.close()
    print(reference)  # noqa: T201 — stdout is data


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"netvps {_NAME}",
        description="Makes environment NAME (image netvps/NAME:latest): a small Debian, made from a package mirror.",
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", help="its name; 'debian' is what sessions use by default")
    source = parser.add_argument_group("where from").add_mutually_exclusive_group()
    source.add_argument("--suite", default="", help="Debian release (by default this machine's own)")
    source.add_argument(
        "--or-pull",
        metavar="IMAGE",
        help="do nothing if the environment is there; else take IMAGE from its registry, if that answers",
    )
    parser.add_argument("--mirror", default="", metavar="URL", help="package mirror (by default this machine's own)")
    parser.add_argument("--docker-host", metavar="HOST", help="Docker's socket; by default DOCKER_HOST or its own")
    return parser


if __name__ == "__main__":
    sys.exit(main())
