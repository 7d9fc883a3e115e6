"""The overlay lock: one process per network namespace holds it, by binding an abstract socket (unix(7)).

    netvps overlay nv0          bound by the process that holds the overlay
    netvps overlay nv0 yields   bound, too, by a holder that hands the overlay over when a runner asks: a server

An abstract name belongs to the network namespace and disappears with the process, however the process ends: unlike
a lock file it can be neither stale nor visible to another namespace.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from typing import Final, Self

from netvps.domain.overlay.kernel.links import OBJECT_NAMES, ObjectNames
from netvps.errors import Unavailable

_LOOK: Final = 0.05
_SENDER: Final = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""


class OverlayLock:
    """This process' lock on the overlay, taken or not yet."""

    def __init__(self, names: ObjectNames = OBJECT_NAMES) -> None:
        self._name = _name(names)
        self._lock: socket.socket | None = None

    def take(self) -> bool:
        """Takes the lock, until `free`; False if another process has it."""
        if self._lock is None:
            self._lock = _bound(self._name)
        return self._lock is not None

    async def take_over(self, seconds: float) -> bool:
        """Takes the lock; asks a holder that yields to hand it over and waits up to `seconds`."""
        if self.take():
            return True
        if not self._ask():
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.take():  # noqa: ASYNC110 — another process releases it
                    await asyncio.sleep(_LOOK)
        return self._lock is not None

    def held(self) -> bool:
        """Reports whether any process has the lock."""
        with _opened() as probe:
            return probe.connect_ex(self._name) == 0

    def yields(self) -> bool:
        """Reports whether the holder hands the lock over on request."""
        with _opened() as probe:
            return probe.connect_ex(_yielding(self._name)) == 0

    def free(self) -> None:
        """Releases the lock; idempotent."""
        if self._lock:
            self._lock.close()
        self._lock = None

    def _ask(self) -> bool:
        with _opened() as probe:
            try:
                probe.sendto(b"?", socket.MSG_DONTWAIT, _yielding(self._name))
            except BlockingIOError:  # requests are queued there already
                return True
            except OSError:
                return False
        return True


class YieldingLock:
    """Receives hand-over requests from runners: a context manager, to enter before the lock is taken.

    Raises Unavailable if another process receives them.
    """

    def __init__(self, names: ObjectNames = OBJECT_NAMES) -> None:
        self._name = _yielding(_name(names))

    def __enter__(self) -> Self:
        self._socket = _opened()
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(self._name)
        except OSError:
            self._socket.close()
            raise Unavailable(
                "cannot take the overlay of this machine: another server is taking it; stop one of the two"
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def asked(self) -> None:
        """Returns when root or this process' user requests the hand-over; requests of other users are ignored."""
        loop, received = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._socket, received.set)
        try:
            while True:
                await received.wait()
                received.clear()
                if self._sender() in {0, os.geteuid()}:
                    return
        finally:
            loop.remove_reader(self._socket)

    def _sender(self) -> int:
        """Returns the user id of the sender of the next message; -1 if unknown."""
        try:
            _, ancillary, _, _ = self._socket.recvmsg(1, socket.CMSG_SPACE(_SENDER.size), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return -1
        return next((_SENDER.unpack(data)[1] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS), -1)


def _name(names: ObjectNames) -> str:
    return f"\0netvps overlay {names.device}"


def _yielding(name: str) -> str:
    return f"{name} yields"


def _opened() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _bound(name: str) -> socket.socket | None:
    opened = _opened()
    try:
        opened.bind(name)
    except OSError:
        opened.close()
        return None
    return opened
