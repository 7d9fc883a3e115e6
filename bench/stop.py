"""`stop`: 200 MB were changed, and are kept in an image; through netvps, and by hand.

Of 1,450 ms, `docker commit` has 1,100 on either side. The rest of ours: 110 until the command, a Python program, has
asked (Docker's three take 40); 110 for the container to end, 55 to remove it; 75 to look, to verify, to name and to
record the snapshot, and to hear of it. Nothing is polled. Where all CPUs are taken, a Python's start grows first.
"""

from __future__ import annotations

from functools import partial

from bench.result import Goal, Measure, Row
from bench.subjects import MEGABYTES, all_three, timed
from bench.turns import in_turn


def measure(rounds: int) -> list[Row]:
    """One row."""
    with all_three("netvps stop", "docker stop, commit, rm") as makers:
        things = {name: partial(timed, make, "make", "change", step="stop") for name, make in makers.items()}
        samples = in_turn(rounds, things)
    return [Row(f"stop, {MEGABYTES} MB changed", "ms", samples, Goal(Measure.RATIO, 1.15))]
