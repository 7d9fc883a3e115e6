"""Recent netmap updates: encoded letters that follow each other without a gap."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_LETTERS: Final = 256
_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class NetmapDelta:
    """An update from the map of any generation since `since` to `generation`, whose map has the digest `digest`."""

    since: int
    generation: int
    digest: str
    parts: tuple[bytes, ...] = ()
    """Encoded messages, to be sent in order."""


class Ring:
    """A bounded buffer of the latest letters. A runner that needs older ones gets the full map."""

    def __init__(self, letters: int = _LETTERS, size: int = _BYTES) -> None:
        """Keeps at most `letters` letters and `size` bytes in total, but always the latest letter."""
        self._letters: deque[NetmapDelta] = deque()
        self._most, self._size = letters, size
        self._held = 0

    @property
    def generation(self) -> int:
        """Generation of the latest letter; 0 before the first one."""
        return self._letters[-1].generation if self._letters else 0

    def append(self, letter: NetmapDelta) -> None:
        """Adds the next letter, which starts at the generation of the latest one."""
        self._letters.append(letter)
        self._held += _size(letter)
        while len(self._letters) > 1 and (len(self._letters) > self._most or self._held > self._size):
            self._held -= _size(self._letters.popleft())

    def reaches(self, generation: int) -> bool:
        """Whether letters, present or future, lead on from that generation."""
        return bool(self._letters) and self._letters[0].since <= generation

    def after(self, generation: int) -> NetmapDelta | None:
        """The next letter after that generation; None if there is none yet."""
        if generation >= self.generation:
            return None
        # Searches backwards, because nearly all runners need the latest letter.
        return next((letter for letter in reversed(self._letters) if letter.since <= generation), None)

    def digest(self, generation: int) -> str | None:
        """Digest of the map at that generation; None if it is no longer buffered."""
        return next((letter.digest for letter in reversed(self._letters) if letter.generation == generation), None)


def _size(letter: NetmapDelta) -> int:
    return sum(map(len, letter.parts))
