"""`clone`: from a snapshot of another session to a finished `ssh true`, beside a new session of the same image.

A clone gets the archive of what its source wrote: nothing in the first row, 200 MB of random bytes in the second.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

from bench.image import image_with_sshd
from bench.place import Place
from bench.result import Goal, Measure, Row
from bench.subjects import MEGABYTES, Session
from bench.turns import in_turn, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

_SNAPSHOT: Final = "bench"


def measure(rounds: int) -> list[Row]:
    """Measures two rows."""
    with Place() as place, image_with_sshd(place) as image:
        place.up()
        source = Session(place, image)
        source.make()
        try:
            place.netvps("snapshot", "create", source.name, _SNAPSHOT)
            fresh = Row("clone to ssh", "ms", _samples(rounds, place, image, source), Goal(Measure.RATIO, 1.2))
            source.change()
            place.netvps("snapshot", "rm", "--yes", source.name, _SNAPSHOT)
            place.netvps("snapshot", "create", source.name, _SNAPSHOT)
            changed = Row(f"clone of {MEGABYTES} MB changed, to ssh", "ms", _samples(rounds, place, image, source))
        finally:
            source.remove()
    return [fresh, changed]


def _samples(rounds: int, place: Place, image: str, source: Session) -> dict[str, list[float]]:
    def created() -> float:
        session = Session(place, image)
        return _timed(session, session.make)

    def cloned() -> float:
        session = Session(place, image)

        def clone() -> None:
            place.netvps("clone", source.name, session.name, "--snapshot", _SNAPSHOT)
            session.ssh("true")

        return _timed(session, clone)

    return in_turn(rounds, {"netvps clone, ssh": cloned, "netvps create, ssh": created})


def _timed(session: Session, work: Callable[[], object]) -> float:
    try:
        subprocess.run(["sync"], check=True, timeout=300)  # earlier writes must not count here
        return milliseconds(work)
    finally:
        session.remove()
