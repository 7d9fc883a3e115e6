"""Runs measurements in alternation (A B A B …), so that other load on the machine affects all of them alike."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def in_turn(rounds: int, things: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Returns each function's results, `rounds` times each, after one round that does not count."""
    samples: dict[str, list[float]] = {name: [] for name in things}
    for turn in range(rounds + 1):
        for name, thing in things.items():
            value = thing()
            if turn:
                samples[name].append(value)
        print(f"\r  round {turn} of {rounds}", end="", file=sys.stderr, flush=True)
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    return samples


def milliseconds(work: Callable[[], object]) -> float:
    """Measures how long some work takes."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
