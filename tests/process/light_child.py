"""A child that starts in a moment: the start, the heartbeats and the end of a program, and nothing between.

It takes the place of Python for a supervisor's children, and so the module that they are to run is ignored.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.process.locks import hold
from netvps.process.process import beating, die_with, guarded, run_to_end
from netvps.process.readiness import Readiness
from netvps.process.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).parents[2]


def write_program(file: Path) -> None:
    """Makes `file` a program that is such a child."""
    file.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.process.light_child import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    file.chmod(0o755)


def main(words: Sequence[str]) -> int:
    """Runs until a signal; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state-dir", type=Path)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--beat-every", type=float)
    parser.add_argument("--late", type=float, default=0.0, help="seconds until it is ready")
    given, _ = parser.parse_known_args(words)
    readiness = Readiness(given.ready_fd, given.beat_every)

    async def serve() -> None:
        with hold(given.state_dir / "server.lock", "a light child"), Stop() as stop:
            readiness.ready()
            await stop.asked.wait()

    def work() -> int:
        die_with(given.parent)
        time.sleep(given.late)
        given.state_dir.mkdir(exist_ok=True)
        run_to_end(beating(serve(), readiness))
        return 0

    return guarded("light", work, readiness.failed)
