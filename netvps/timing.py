"""Durations of steps, reported to observers; nearly free without observers.

Global, as logging is: it measures this process, and no layer has to pass an observer to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

Step = Literal["store", "runner_step", "gateway_login", "gateway_dial", "http_request"]
STEPS: Final[dict[str, Step]] = {step: step for step in get_args(Step)}
"""SessionActions by name."""
Observer = Callable[[Step, str, float], None]
"""Takes the kind of step, a variant (one of few, because it becomes a metric label), and the duration in seconds."""

_observers: list[Observer] = []


@contextmanager
def observe_durations(observer: Observer) -> Iterator[None]:
    """Calls `observer` for every step that ends within the block."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


@contextmanager
def timed(step: Step, which: str) -> Iterator[None]:
    """Measures the block as one step, however it ends."""
    began = time.monotonic()
    try:
        yield
    finally:
        observe_duration(step, which, time.monotonic() - began)


def observe_duration(step: Step, which: str, seconds: float) -> None:
    """Reports a step that was measured elsewhere."""
    for observer in _observers:
        observer(step, which, seconds)
