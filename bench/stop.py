"""`stop`: after 200 MB were changed; with netvps until the session is stopped, by hand until the files are in an image.

netvps keeps the container, and the command waits up to 0.2 s for the copies that follow. By hand, most of the time
is spent in `docker commit`.
"""

from __future__ import annotations

from functools import partial

from bench.result import Goal, Measure, Row
from bench.subjects import MEGABYTES, all_three, timed
from bench.turns import in_turn


def measure(rounds: int) -> list[Row]:
    """Measures one row."""
    with all_three("netvps stop", "docker stop, commit, rm") as makers:
        things = {name: partial(timed, make, "make", "change", step="stop") for name, make in makers.items()}
        samples = in_turn(rounds, things)
    return [Row(f"stop, {MEGABYTES} MB changed", "ms", samples, Goal(Measure.RATIO, 1.15))]
