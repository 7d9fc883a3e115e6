"""Recent netmap updates: encoded deltas that follow each other without a gap."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

_DELTAS: Final = 256
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
    """A bounded buffer of the latest deltas. A runner that needs older ones gets the full map."""

    def __init__(self, deltas: int = _DELTAS, size: int = _BYTES) -> None:
        """Keeps at most `deltas` deltas and `size` bytes in total, but always the latest delta."""
        self._deltas: deque[NetmapDelta] = deque()
        self._most, self._size = deltas, size
        self._held = 0

    @property
    def generation(self) -> int:
        """Generation of the latest delta; 0 before the first one."""
        return self._deltas[-1].generation if self._deltas else 0

    def append(self, delta: NetmapDelta) -> None:
        """Adds the next delta, which starts at the generation of the latest one."""
        self._deltas.append(delta)
        self._held += _size(delta)
        while len(self._deltas) > 1 and (len(self._deltas) > self._most or self._held > self._size):
            self._held -= _size(self._deltas.popleft())

    def reaches(self, generation: int) -> bool:
        """Whether deltas, present or future, lead on from that generation."""
        return bool(self._deltas) and self._deltas[0].since <= generation

    def after(self, generation: int) -> NetmapDelta | None:
        """The next delta after that generation; None if there is none yet."""
        if generation >= self.generation:
            return None
        # Searches backwards, because nearly all runners need the latest delta.
        return next((delta for delta in reversed(self._deltas) if delta.since <= generation), None)

    def digest(self, generation: int) -> str | None:
        """Digest of the map at that generation; None if it is no longer buffered."""
        return next((delta.digest for delta in reversed(self._deltas) if delta.generation == generation), None)


def _size(delta: NetmapDelta) -> int:
    return sum(map(len, delta.parts))
