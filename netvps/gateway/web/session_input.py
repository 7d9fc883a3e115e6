"""Input and sizes on their way to a session, in bounded memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from netvps.domain.session.exec import Stdin

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from netvps.domain.session.exec import TerminalSize, ToCommand

CREDIT: Final = 128 * 1024
"""Bytes of input that a page sends without hearing that they were taken."""
_PIECE: Final = 32 * 1024


class SessionInput:
    """A page feeds it; the session takes what comes by `messages`."""

    def __init__(self, taken: Callable[[int], None], first: bytes = b"") -> None:
        """`taken` gets the number of bytes that left, of those that `feed` brought."""
        self._taken = taken
        self._free = len(first)
        """Bytes at the front that are not to be reported."""
        self._data = bytearray(first)
        self._size: TerminalSize | None = None
        self._some = asyncio.Event()
        if first:
            self._some.set()

    def feed(self, data: bytes) -> bool:
        """Adds input; False if that is more than a page may have under way."""
        if len(self._data) - self._free + len(data) > CREDIT:
            return False
        self._data += data
        self._some.set()
        return True

    def resize(self, size: TerminalSize) -> None:
        """Adds a size, in place of an earlier one that is still under way."""
        self._size = size
        self._some.set()

    def drop(self) -> None:
        """Forgets what did not leave; the page may send as much again."""
        self._note(len(self._data))
        self._data.clear()

    async def messages(self) -> AsyncGenerator[ToCommand, None]:
        """Yields what comes, without an end."""
        while True:
            await self._some.wait()
            self._some.clear()
            if (size := self._size) is not None:
                self._size = None
                yield size
            while self._data:
                piece = bytes(self._data[:_PIECE])
                del self._data[:_PIECE]
                self._note(len(piece))  # before it leaves: the session may end with it
                yield Stdin(piece)

    def _note(self, count: int) -> None:
        free = min(self._free, count)
        self._free -= free
        if count > free:
            self._taken(count - free)
