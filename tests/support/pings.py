"""A ping every millisecond or so, and which of them had no answer, and when."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.images import BUSYBOX

_ANSWER = re.compile(rb"seq=(\d+) ")
_SECONDS = 30.0
_SEQUENCES = 1 << 16
_NOTE = 64
"""Answers between two notes of the time."""


@dataclass
class Answers:
    """What busybox's ping says; its numbers are counted on where the 16 bits of the wire begin again."""

    numbers: set[int] = field(default_factory=set)
    latest: int = 0
    _notes: list[tuple[int, float]] = field(default_factory=list)

    def read(self, lines: Iterable[bytes]) -> None:
        for count, found in enumerate(found for line in lines if (found := _ANSWER.search(line))):
            ahead = (int(found[1]) - self.latest + _SEQUENCES // 2) % _SEQUENCES - _SEQUENCES // 2
            self.numbers.add(self.latest + ahead)
            self.latest += max(0, ahead)
            if count % _NOTE == 0:
                self._notes.append((self.latest, time.monotonic()))

    def lost(self) -> list[int]:
        """Those without an answer, though a later one has one."""
        return [number for number in range(self.latest) if number not in self.numbers]

    def when(self, number: int) -> float:
        """About when that one was sent, on the monotonic clock."""
        return self._notes[min(bisect_left(self._notes, (number, 0.0)), len(self._notes) - 1)][1]

    def require(self, began: float = 0.0) -> None:
        """Raises AssertionError if one is lost; says which, in seconds since `began` on the monotonic clock."""
        lost = self.lost()
        first = ", ".join(f"number {number} at {self.when(number) - began:.2f} s" for number in lost[:10])
        assert not lost, f"{len(lost)} of {self.latest + 1} pings lost: {first}"


@contextmanager
def pinging(place: Sequence[str], address: str, began: float = 0.0, every: float = 0.001) -> Iterator[Answers]:
    """Not one of them may be lost within the block.

    `place` is what comes before a command that is to run there; there is one each `every` seconds.
    """
    command = ["nice", "-n", "-10", *place, str(BUSYBOX), "ping", "-i", str(every), address]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout
    answers = Answers()
    reader = threading.Thread(target=answers.read, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        _await(lambda: answers.latest > 0)
        yield answers
        last = answers.latest
        _await(lambda: answers.latest > last)  # what is on its way then is not counted
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        reader.join(20)
        process.stdout.close()
    answers.require(began)


def _await(answered: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SECONDS
    while not answered():
        assert time.monotonic() < deadline, f"no ping is answered for {_SECONDS} s"
        time.sleep(0.01)
