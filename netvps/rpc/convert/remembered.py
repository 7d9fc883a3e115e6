"""A cache of conversions of frozen values, which are repeated for each list and for each of a thousand watchers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_LARGEST = 4096  # maximum bytes of a cached message


class Remembered(Generic[T, M]):
    """A conversion with a cache keyed by the identity of the value. Callers must not modify the results."""

    def __init__(self, convert: Callable[[T], M], count: int) -> None:
        """Caches at most `count` results; evicts the oldest."""
        self._convert = convert
        self._count = count
        self._answers: dict[int, tuple[T, M]] = {}  # holds the value, so that its id is not reused

    def __call__(self, value: T) -> M:
        """The message for a value."""
        known = self._answers.get(id(value))
        if known is not None:
            return known[1]
        message = self._convert(value)
        if message.ByteSize() <= _LARGEST:
            if len(self._answers) >= self._count:
                del self._answers[next(iter(self._answers))]
            self._answers[id(value)] = value, message
        return message
