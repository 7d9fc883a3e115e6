"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from typing import Final

from bench import report
from bench.result import Outcome, Row, rounds, spread, verdict

# name → rounds; each is a module of this package with `measure(rounds) -> list[Row]`.
BENCHES: Final = {
    "create": 15,
    "stop": 9,
    "start": 9,
    "pause": 9,
    "gateway": 7,
    "http": 5,
    "cli": 25,
    "api": 9,
    "idle": 3,
    "converge": 15,
    "program": 9,
    "tui": 5,
    "overlay": 7,
    "reconnect": 3,
    "cycles": 1,
    "clone": 9,
    "move": 5,
}
SMOKE: Final = ("cli",)


def main() -> int:
    """Runs the named benchmarks. A missed goal is a result, not a failure."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="netvps beside its references, in turn.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(BENCHES)}, all, or report")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of each, instead of its own number")
    parser.add_argument("--smoke", action="store_true", help=f"one round of {' and '.join(SMOKE)}; nothing is kept")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that everything is removed
    if unknown := set(arguments.names) - {*BENCHES, "all", "report"}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    names = [*BENCHES] if "all" in arguments.names else [name for name in BENCHES if name in arguments.names]
    if not names and not arguments.smoke and "report" not in arguments.names:
        parser.error("name a benchmark, or all, or report")
    for name in SMOKE if arguments.smoke else names:
        print(f"{name}:", file=sys.stderr)
        times = 1 if arguments.smoke else arguments.rounds or BENCHES[name]
        rows = importlib.import_module(f"bench.{name}").measure(times)
        outcome = Outcome(name, rows, load=round(os.getloadavg()[0], 1))
        for row in outcome.rows:
            show(row)
        if not arguments.smoke:
            print(f"  {outcome.save()}", file=sys.stderr)
    if "report" in arguments.names:
        print(report.write([*BENCHES]))
    return 0


def show(row: Row) -> None:
    """Prints medians and their comparison."""
    medians = ", ".join(f"{name} {spread(values)}" for name, values in row.samples.items())
    print(f"  {row.label} [{row.unit}]: {'; '.join(filter(None, (medians, verdict(row), rounds(row))))}")


if __name__ == "__main__":
    sys.exit(main())
