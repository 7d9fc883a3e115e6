"""Conversions of frozen values that are asked for again: by each who lists, and each of a thousand who watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
M = TypeVar("M", bound=Message)

_LARGEST = 4096  # bytes of a message that is kept


class Remembered(Generic[T, M]):
    """A conversion that knows its last answers, by the identity of the value. Nobody may change an answer."""

    def __init__(self, convert: Callable[[T], M], count: int) -> None:
        """At most `count` answers are kept, the oldest go first."""
        self._convert = convert
        self._count = count
        self._answers: dict[int, tuple[T, M]] = {}  # with the value, so that its id is nobody else's

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
