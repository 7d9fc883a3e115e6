"""How long things took, told to whoever asked; free where nobody did.

Global, as logging is: what is measured is this process, and no layer has to hand a clock to the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, get_args

Step = Literal["store", "runner_step", "gateway_login", "gateway_dial"]
STEPS: Final[dict[str, Step]] = {step: step for step in get_args(Step)}
"""Steps by what they are called."""
Observer = Callable[[Step, str, float], None]
"""Takes the kind of step, which of them it was (one of few: it becomes a label), and its duration in seconds."""

_observers: list[Observer] = []


@contextmanager
def told_to(observer: Observer) -> Iterator[None]:
    """Tells `observer` of every step that ends within the block."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


@contextmanager
def timed(step: Step, which: str) -> Iterator[None]:
    """The block is a step, however it ends."""
    began = time.monotonic()
    try:
        yield
    finally:
        took(step, which, time.monotonic() - began)


def took(step: Step, which: str, seconds: float) -> None:
    """Tells of a step that was measured elsewhere."""
    for observer in _observers:
        observer(step, which, seconds)
