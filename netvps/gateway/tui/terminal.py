"""A pseudo-terminal of this process between an app and a channel, with flow control in both directions."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PIECE: Final = 16 * 1024
INPUT_LIMIT: Final = 64 * 1024
"""Bytes of input that wait for an app that does not read; beyond that, input is lost, as on a real terminal."""
MAX_SIZE: Final = 1000
"""Maximum columns and rows: a client may claim a billion, and the app draws each cell."""


class Terminal:
    """Calls `output` with what the app writes. Its owner closes it."""

    def __init__(self, output: Callable[[bytes], None]) -> None:
        self._output = output
        self._own, self.app_end = os.openpty()
        """`app_end` is the descriptor for the app; `close_app_end` once the app has it."""
        os.set_blocking(self._own, False)
        self._loop = asyncio.get_running_loop()
        self._waiting = bytearray()
        self._reading = self._closed = False
        self.resume()

    def resize(self, columns: int, rows: int) -> None:
        """Sets the size, which the kernel tells the app. 0 is the usual size of a terminal."""
        size = min(rows or 24, MAX_SIZE), min(columns or 80, MAX_SIZE)
        fcntl.ioctl(self._own, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def feed(self, data: bytes) -> None:
        """Passes input to the app."""
        self._waiting += data[: INPUT_LIMIT - len(self._waiting)]
        self._write()

    def pause(self) -> None:
        """Stops reading from the app, which waits then."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._own)

    def resume(self) -> None:
        """Continues reading."""
        if not self._reading and not self._closed:
            self._reading = True
            self._loop.add_reader(self._own, self._read)

    def close_app_end(self) -> None:
        """Closes the app's end here. Idempotent."""
        if self.app_end >= 0:
            os.close(self.app_end)
            self.app_end = -1

    def drain(self) -> None:
        """Passes on what an app that has ended wrote before."""
        while not self._closed and self._read():
            pass

    def close(self) -> None:
        """Closes both ends; the app gets SIGHUP. Idempotent."""
        self.close_app_end()
        if not self._closed:
            self.pause()
            self._loop.remove_writer(self._own)
            self._closed = True
            os.close(self._own)

    def _read(self) -> bool:
        try:
            data = os.read(self._own, _PIECE)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: no program has the other end open
                raise
            data = b""
        if not data:
            self.pause()
            return False
        self._output(data)
        return True

    def _write(self) -> None:
        if self._closed:
            return
        with suppress(BlockingIOError):
            while self._waiting:
                del self._waiting[: os.write(self._own, self._waiting)]
        if self._waiting:
            self._loop.add_writer(self._own, self._write)
        else:
            self._loop.remove_writer(self._own)
