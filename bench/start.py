"""`start`: from a stopped session to a finished `ssh true`; through netvps, and by hand.

netvps starts the container that it kept; by hand a new one is created from the image.
"""

from __future__ import annotations

from functools import partial

from bench.result import Goal, Measure, Row
from bench.subjects import all_three, timed
from bench.turns import in_turn


def measure(rounds: int) -> list[Row]:
    """Measures one row."""
    with all_three("netvps start, ssh", "docker run, ssh") as makers:
        before = ("make", "change", "stop")
        samples = in_turn(rounds, {name: partial(timed, make, *before, step="start") for name, make in makers.items()})
    return [Row("start to ssh", "ms", samples, Goal(Measure.RATIO, 1.25))]
