"""`create`: from nothing to a finished `ssh true`; through netvps, and by hand."""

from __future__ import annotations

from functools import partial

from bench.result import Goal, Measure, Row
from bench.subjects import all_three, timed
from bench.turns import in_turn


def measure(rounds: int) -> list[Row]:
    """One row."""
    with all_three("netvps create, ssh", "docker run, ssh") as makers:
        samples = in_turn(rounds, {name: partial(timed, make, step="make") for name, make in makers.items()})
    return [Row("create to ssh", "ms", samples, Goal(Measure.RATIO, 1.25))]
