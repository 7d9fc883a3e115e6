"""A stock client on a terminal of the test."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from typing import Self

from tests.support.patience import PATIENCE


class Viewer:
    """Runs a program on a PTY; an async context manager. `seen` is what it showed."""

    def __init__(self, argv: list[str], *, columns: int = 100, rows: int = 30, term: str = "xterm-256color") -> None:
        self.argv = argv
        self.size = columns, rows
        self.term = term
        self.seen = bytearray()
        self.reading = True

    async def __aenter__(self) -> Self:
        self.own, other = pty.openpty()
        self._set(*self.size)
        self.process = await asyncio.create_subprocess_exec(
            *self.argv,
            stdin=other, stdout=other, stderr=other, start_new_session=True,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": self.term, "COLORTERM": "truecolor"},
        )  # fmt: skip
        os.close(other)
        os.set_blocking(self.own, False)
        asyncio.get_running_loop().add_reader(self.own, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop_reading()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        os.close(self.own)

    def resize(self, columns: int, rows: int) -> None:
        """As a terminal does that changes its size; the client is not in its foreground, so it gets the signal here."""
        self._set(columns, rows)
        self.process.send_signal(signal.SIGWINCH)

    async def press_until(self, keys: bytes, text: bytes) -> None:
        """Presses keys again and again until they have the effect that a change of size had before."""
        async with asyncio.timeout(PATIENCE):
            while text not in self.seen:
                self.press(keys)
                await asyncio.sleep(0.2)

    def _set(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.own, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self.own, keys)

    def stop_reading(self) -> None:
        if self.reading:
            self.reading = False
            asyncio.get_running_loop().remove_reader(self.own)

    async def until(self, text: bytes, seconds: float = PATIENCE) -> bytes:
        """Waits until it showed `text`, and forgets everything up to it."""
        try:
            async with asyncio.timeout(seconds):
                while (place := self.seen.find(text)) < 0:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"{text!r} did not come; instead {bytes(self.seen[-2000:])!r}") from None
        before = bytes(self.seen[: place + len(text)])
        del self.seen[: place + len(text)]
        return before

    async def end(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def _read(self) -> None:
        try:
            data = os.read(self.own, 65536)
        except OSError:
            data = b""
        if not data:
            self.stop_reading()
        self.seen += data
