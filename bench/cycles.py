"""`cycles`: the last of 300 stops and starts of one session beside the first ones, each to a finished `ssh true`.

A cycle is `netvps stop`, `netvps start`, and `ssh true`. What a stop leaves behind must not make the next one slower.
"""

from __future__ import annotations

import sys
from typing import Final

from bench.image import image_with_sshd
from bench.place import Place
from bench.result import Goal, Measure, Row
from bench.subjects import Session
from bench.turns import milliseconds

_CYCLES: Final = 300
_COMPARED: Final = 20  # at each end


def measure(rounds: int) -> list[Row]:
    """Measures one row; `rounds` sessions one after the other."""
    first: list[float] = []
    last: list[float] = []
    with Place() as place, image_with_sshd(place) as image:
        place.up()
        for _ in range(rounds):
            session = Session(place, image)
            session.make()
            try:
                took = [_cycle(session, number) for number in range(1, _CYCLES + 1)]
            finally:
                session.remove()
            first += took[:_COMPARED]
            last += took[-_COMPARED:]
    samples = {f"the last {_COMPARED}": last, f"the first {_COMPARED}": first}
    return [Row(f"stop and start, of {_CYCLES}", "ms", samples, Goal(Measure.RATIO, 1.3))]


def _cycle(session: Session, number: int) -> float:
    def cycle() -> None:
        session.stop()
        session.start()

    print(f"\r  cycle {number} of {_CYCLES}", end="", file=sys.stderr, flush=True)
    took = milliseconds(cycle)
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    return took
