"""What was told of the netmap lately: letters, encoded, one behind the other without a gap."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_LETTERS: Final = 256
_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Letter:
    """Brings whoever knows the map of any generation from `since` on to `generation`, where its digest is `digest`."""

    since: int
    generation: int
    digest: str
    parts: tuple[bytes, ...] = ()
    """Messages, to be sent in order."""


class Ring:
    """The latest letters, as many as its bounds allow: those who need older ones get the whole map."""

    def __init__(self, letters: int = _LETTERS, size: int = _BYTES) -> None:
        """At most so many letters, of so many bytes in all; the latest is always kept."""
        self._letters: deque[Letter] = deque()
        self._most, self._size = letters, size
        self._held = 0

    @property
    def generation(self) -> int:
        """Of the latest letter; 0 before the first."""
        return self._letters[-1].generation if self._letters else 0

    def append(self, letter: Letter) -> None:
        """Adds the next letter, which begins where the latest ends."""
        self._letters.append(letter)
        self._held += _size(letter)
        while len(self._letters) > 1 and (len(self._letters) > self._most or self._held > self._size):
            self._held -= _size(self._letters.popleft())

    def reaches(self, generation: int) -> bool:
        """Whether who knows that generation can be helped with letters, these or some to come."""
        return bool(self._letters) and self._letters[0].since <= generation

    def after(self, generation: int) -> Letter | None:
        """The next letter for who knows that generation; None if there is no news for them."""
        if generation >= self.generation:
            return None
        # Nearly everybody needs the latest.
        return next((letter for letter in reversed(self._letters) if letter.since <= generation), None)

    def digest(self, generation: int) -> str | None:
        """Of the map at that generation; None if that is not remembered."""
        return next((letter.digest for letter in reversed(self._letters) if letter.generation == generation), None)


def _size(letter: Letter) -> int:
    return sum(map(len, letter.parts))
