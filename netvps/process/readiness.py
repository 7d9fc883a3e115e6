"""A program reports to its parent over a pipe that it is ready or has failed, and then sends heartbeats.

The event loop itself writes the heartbeats. So a process that is stopped, or whose event loop is blocked, is detected,
whether it listens on an address or not.
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
    """The outcome of a start: `error` is empty if the program is ready; `code` is the exit code otherwise."""

    error: str = ""
    code: int = 0


class Readiness:
    """The writing end; without a descriptor (no parent waits) it does nothing."""

    def __init__(self, descriptor: int | None, beat_every: float | None = None) -> None:
        """`beat_every` is in seconds; None disables heartbeats."""
        self._descriptor = descriptor
        self._beat_every = beat_every
        self._said = False
        self.when_ready: Callable[[], None] = lambda: None
        """Called before readiness is reported."""

    @property
    def awaited(self) -> bool:
        """Whether a program of netvps waits for the report."""
        return self._descriptor is not None

    def ready(self) -> None:
        """Reports that the program serves; to systemd, if no netvps program waits for it."""
        self.when_ready()
        if self._descriptor is None and not self._said:
            _notify_systemd()
        self._report(Outcome())

    def failed(self, error: str, code: int) -> None:
        """Reports that the program ends with this error and exit code."""
        self._report(Outcome(error, code))

    async def beat(self) -> None:
        """Writes heartbeats without end, starting when the program is ready, if they are enabled."""
        while self._beat_every is not None:
            await asyncio.sleep(self._beat_every)
            if self._said and self._descriptor is not None:
                with suppress(BlockingIOError):  # the reader itself is stopped
                    self._write(self._descriptor, _BEAT)

    def _report(self, outcome: Outcome) -> None:
        """Reports the outcome once; later events are only logged."""
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
        except BrokenPipeError:  # the reader is gone
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _notify_systemd() -> None:
    """Notifies systemd that a unit of Type=notify is ready (sd_notify(3)); for the unit's main process only."""
    if address := os.environ.pop("NOTIFY_SOCKET", ""):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notify:
            notify.connect("\0" + address[1:] if address.startswith("@") else address)
            notify.send(b"READY=1")


class Signs:
    """The reading end, which closes its descriptor. Opened with `of`, not with the constructor."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport) -> None:
        self._reader = reader
        self._transport = transport

    @classmethod
    async def of(cls, descriptor: int) -> Self:
        """Opens the reading end."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
        )
        return cls(reader, transport)

    async def outcome(self) -> Outcome | None:
        """Waits for the outcome; None if the program died without a message."""
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            return None
        message = json.loads(line)
        return Outcome(message["error"], message["code"])

    async def beaten(self, seconds: float) -> bool:
        """Whether a heartbeat arrives within `seconds`. Raises EOFError if the program has ended."""
        try:
            async with asyncio.timeout(seconds):
                beats = await self._reader.read(1 << 16)
        except TimeoutError:
            return False
        if not beats:
            raise EOFError
        return True

    def close(self) -> None:
        """Closes the reading end. Idempotent."""
        self._transport.close()


async def await_outcome(descriptor: int) -> Outcome | None:
    """Waits for the outcome; None if the program died without a message. Closes the descriptor."""
    signs = await Signs.of(descriptor)
    try:
        return await signs.outcome()
    finally:
        signs.close()
