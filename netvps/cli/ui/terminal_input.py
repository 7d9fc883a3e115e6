"""This terminal, or pipe, as the input of a command elsewhere: bytes, changes of size, and the end."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from netvps.domain.session.exec import Stdin, StdinEof, TerminalSize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.exec import ToCommand

_PIECE: Final = 32 * 1024
_MANY: Final = 4096


def size() -> TerminalSize:
    """The size of this terminal; 80x24 where it has none."""
    found = shutil.get_terminal_size()
    return TerminalSize(max(1, found.columns), max(1, found.lines))


class Input:
    """What the command is fed with, for a `with` block. It is read in another thread, which ends with the block.

    Bytes are read only when they are asked for, so that a slow command slows whoever writes to us.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._read = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        os.close(self._waker)  # which the reader sees as the end of what wakes it
        if not self._read:
            os.close(self._wake)

    def messages(self) -> Iterator[ToCommand]:
        """What happens at this end, until the block ends; once."""
        self._read = True
        try:
            if self._descriptor is None:
                yield StdinEof()
            while True:
                ready, _, _ = select.select([fd for fd in (self._wake, self._descriptor) if fd is not None], [], [])
                if self._wake in ready:
                    if not os.read(self._wake, _MANY):
                        return
                    yield size()
                elif self._descriptor is not None:
                    yield self._stdin(self._descriptor)
        finally:
            os.close(self._wake)

    def resized(self) -> None:
        """The terminal has another size. Called by the signal's handler, in the thread of the block."""
        if not self._closed:
            with suppress(BlockingIOError):  # the reader is slow, and has enough to read
                os.write(self._waker, b"r")

    def _stdin(self, descriptor: int) -> ToCommand:
        if data := os.read(descriptor, _PIECE):
            return Stdin(data)
        self._descriptor = None
        return StdinEof()


@contextmanager
def raw(feed: Input) -> Iterator[None]:
    """Passes every key to the command unchanged, Ctrl-C too, and reports changes of size; undone at the end."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    handler = signal.signal(signal.SIGWINCH, lambda *_: feed.resized())
    try:
        tty.setraw(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)  # a terminal that stands still must not hold us
        signal.signal(signal.SIGWINCH, handler)
