"""Input while neither the terminal UI nor a session has the terminal, and the key that leads back to the UI."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from netvps.gateway.tui.terminal import INPUT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

RESET: Final = b"\x1b[!p\x1b[?25h\x1b[?1000;1002;1003;1006l\x1b[?2004l\x1b[?1049l\x1b[m"
"""What a program that ended in an unclean way may have left switched on: cursor, mouse, paste, alternate screen."""
_LEAVE_SECONDS: Final = 60.0
"""How long an error is shown before the UI comes back without a key being pressed."""


class EarlyInput:
    """Keeps INPUT_LIMIT bytes for whichever gets the terminal next."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._key = asyncio.Event()

    def feed(self, data: bytes) -> None:
        """Keeps input; what is beyond the limit is lost."""
        self._kept += data[: INPUT_LIMIT - len(self._kept)]
        self._key.set()

    def take(self) -> bytes:
        """What was kept, which is then no longer kept."""
        data = bytes(self._kept)
        self._kept.clear()
        return data

    async def explain(self, say: Callable[[str], None], reason: str) -> None:
        """Shows an error until a key is pressed, for a minute at most; drops that key."""
        say(f"{reason}\r\nany key leads back")
        self._key.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._key.wait()
        self.take()
