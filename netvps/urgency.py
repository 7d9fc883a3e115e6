"""Marks what a person waits for, so that it goes first where calls wait for a place (adapters.docker.pool).

The mark belongs to the running task; tasks that it starts inherit it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_URGENT: Final[ContextVar[bool]] = ContextVar("urgent", default=False)


def is_urgent() -> bool:
    """Whether a person waits for what the running task does."""
    return _URGENT.get()


@contextmanager
def urgency(*, urgent: bool) -> Iterator[None]:
    """Marks what the running task does within the block."""
    token = _URGENT.set(urgent)
    try:
        yield
    finally:
        _URGENT.reset(token)
