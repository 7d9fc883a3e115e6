"""A terminal that is read by a program: what a program on it shows, and when."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ROWS, _COLUMNS = 40, 120
_ESCAPES: Final = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])"
)
_KEPT: Final = 1 << 20
"""Bytes in which a text is looked for."""


class Screen:
    """A pseudo-terminal; a context manager, in an event loop."""

    def __enter__(self) -> Self:
        self._own, self.app_end = os.openpty()
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        os.set_blocking(self._own, False)
        self._seen, self._count, self._began = bytearray(), 0, 0.0
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._own, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._own)
        self.close_app_end()
        os.close(self._own)

    def close_app_end(self) -> None:
        """Closes the program's end here, once the program has it. Idempotent."""
        if self.app_end >= 0:
            os.close(self.app_end)
            self.app_end = -1

    @contextlib.contextmanager
    def running(self, command: Sequence[str], env: Mapping[str, str]) -> Iterator[None]:
        """Runs a program on it, and ends it."""
        terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
        process = subprocess.Popen(
            command,
            stdin=self.app_end,
            stdout=self.app_end,
            stderr=self.app_end,
            env={**env, **terminal},
            start_new_session=True,
        )
        self.close_app_end()
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start_clock(self) -> None:
        """Times count from now."""
        self._began = time.perf_counter()

    def press(self, keys: str) -> None:
        """Types; times count from now."""
        self.start_clock()
        os.write(self._own, keys.encode())

    def forget(self) -> None:
        """Forgets what was shown."""
        self._seen.clear()
        self._count = 0

    def received(self) -> int:
        """Bytes received since `forget`."""
        return self._count

    async def until(self, text: str, seconds: float) -> float:
        """Waits until a text was shown; returns the milliseconds since the clock started. Raises RuntimeError."""
        wanted = text.encode()
        try:
            async with asyncio.timeout(seconds):
                while wanted not in _ESCAPES.sub(b"", self._seen):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            shown = _ESCAPES.sub(b"", self._seen)[-2000:].decode(errors="replace")
            raise RuntimeError(f"{text!r} was not shown within {seconds:g} s; instead: {shown}") from None
        return (time.perf_counter() - self._began) * 1000

    def _read(self) -> None:
        try:
            data = os.read(self._own, 65536)
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self._own)
            return
        self._count += len(data)
        self._seen += data
        del self._seen[:-_KEPT]
        self._news.set()
