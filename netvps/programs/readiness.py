"""A program tells the one that started it, over a pipe, that it is ready, or why it never will be; then that it lives.

It lives as long as its event loop turns: a beat is written by that, and by nothing else. So a process that is stopped,
or whose loop waits for something that never comes, is found out, whatever it does or does not listen at.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_BEAT = b"."


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a start ended: `error` is empty if the program is ready; `code` is the exit code otherwise."""

    error: str = ""
    code: int = 0


class Readiness:
    """The writing end; without a descriptor (nobody waits) it does nothing."""

    def __init__(self, descriptor: int | None, beat_every: float | None = None) -> None:
        """`beat_every` is in seconds; None if nobody watches."""
        self._descriptor = descriptor
        self._beat_every = beat_every
        self._said = False
        self.when_ready: Callable[[], None] = lambda: None
        """Called before the program that waits hears of it."""

    def ready(self) -> None:
        """Says that the program serves; where no program of netvps waits for that, to systemd."""
        self.when_ready()
        if self._descriptor is None and not self._said:
            _notify_systemd()
        self._tell(Outcome())

    def failed(self, error: str, code: int) -> None:
        """Says that it ends with this error and exit code."""
        self._tell(Outcome(error, code))

    async def beat(self) -> None:
        """Shows for ever that the event loop turns, from when the program is ready, to who watches it, if anybody."""
        while self._beat_every is not None:
            await asyncio.sleep(self._beat_every)
            if self._said and self._descriptor is not None:
                with suppress(BlockingIOError):  # who watches is itself stopped
                    self._write(self._descriptor, _BEAT)

    def _tell(self, outcome: Outcome) -> None:
        """Once: later news is for the log."""
        if self._descriptor is None or self._said:
            return
        self._said = True
        self._write(self._descriptor, json.dumps({"error": outcome.error, "code": outcome.code}).encode() + b"\n")
        if outcome.error or self._beat_every is None:
            self._close()
        elif self._descriptor is not None:
            os.set_blocking(self._descriptor, False)

    def _write(self, descriptor: int, content: bytes) -> None:
        try:
            os.write(descriptor, content)
        except BrokenPipeError:  # who waited is gone
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _notify_systemd() -> None:
    """Tells systemd that a unit of Type=notify is ready (sd_notify(3)); for the unit's main process only."""
    if address := os.environ.pop("NOTIFY_SOCKET", ""):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(b"READY=1")


class Signs:
    """The reading end, whose descriptor it closes. Not opened by its constructor: `of`."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        self._reader = reader
        self._transport = transport

    @classmethod
    async def of(cls, descriptor: int) -> Self:
        """Begins to listen."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        return cls(reader, transport)

    async def outcome(self) -> Outcome | None:
        """Waits until the program spoke; None if it died without a word."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            return None
        told = json.loads(line)
        return Outcome(told["error"], told["code"])

    async def beaten(self, seconds: float) -> bool:
        """Whether a beat comes within so many seconds. Raises EOFError when no more will come: the program ended."""
        try:
            async with asyncio.timeout(seconds):
                beats = await self._reader.read(1 << 16)
        except TimeoutError:
            return False
        if not beats:
            raise EOFError
        return True

    def close(self) -> None:
        """Closing twice is fine."""
        self._transport.close()


async def await_outcome(descriptor: int) -> Outcome | None:
    """Reads the other end until the program spoke; None if it died without a word. Closes the descriptor."""
    signs = await Signs.of(descriptor)
    try:
        return await signs.outcome()
    finally:
        signs.close()
