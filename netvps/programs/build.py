"""`netvps env build`: sends a folder with a Dockerfile to a runner, and shows what its builder says."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netvps.adapters.docker.environments.context import pack_context
from netvps.cli.env.pull import followed, one_runner
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.cli.server.connect import dial
from netvps.cli.server.contexts import resolve
from netvps.cli.ui.progress import progress
from netvps.domain.names import ENVIRONMENT_NAME_MAX, check_label
from netvps.process.process import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NAME: Final = "env build"
_PIECE: Final = 64 * 1024


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    given = parse(programs.build, sys.argv[1:] if argv is None else argv)
    return guarded(_NAME, lambda: _main(given))


def _main(given: Mapping[str, Any]) -> int:
    name = check_label(given["name"], "NAME", ENVIRONMENT_NAME_MAX)
    with pack_context(Path(given["folder"]), given["file"]) as context, dial(resolve(given["context"])) as client:
        context.seek(0)
        runner = given["runner"] or one_runner(client)
        steps = client.build_image(runner, name, given["tag"], given["file"], iter(lambda: context.read(_PIECE), b""))
        with progress() as shown, closing(steps):
            made = followed(steps, f"runner {runner}", shown)
    print(made.reference)  # noqa: T201 — stdout is data
    return 0


if __name__ == "__main__":
    sys.exit(main())
