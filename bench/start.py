"""`start`: from a stopped session to a finished `ssh true`; through netvps, and by hand.

In the first row both sides start the container that they kept; in the second they do so through a connected client, so
that no command has to start. In the third row the container was removed: netvps unpacks its snapshot into a new one,
and by hand a new one is created from an image. The session was stopped with `--wait-snapshot`, so that no copy of its
files is made meanwhile.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from bench.result import Goal, Measure, Row
from bench.subjects import ClientContainer, ClientSession, Makers, all_three, timed
from bench.turns import in_turn

_STOPPED: Final = ("make", "change", "rest")


def measure(rounds: int) -> list[Row]:
    """Measures three rows."""
    with all_three("netvps start, ssh", "docker start, ssh") as makers:
        kept = _samples(rounds, makers, *_STOPPED, step="start")
    with all_three("netvps client, ssh", "Docker client, ssh", ClientSession, ClientContainer) as makers:
        connected = _samples(rounds, makers, *_STOPPED, step="start")
    with all_three("netvps start, ssh", "docker run, ssh") as makers:
        lost = _samples(rounds, makers, *_STOPPED, "lose", step="remake")
    return [
        Row("start of the kept container to ssh", "ms", kept, Goal(Measure.RATIO, 1.25)),
        Row("start of the kept container to ssh, by clients", "ms", connected, Goal(Measure.RATIO, 1.25)),
        Row("start from a snapshot to ssh", "ms", lost, Goal(Measure.RATIO, 1.0)),
    ]


def _samples(rounds: int, makers: Makers, *before: str, step: str) -> dict[str, list[float]]:
    return in_turn(rounds, {name: partial(timed, make, *before, step=step) for name, make in makers.items()})
