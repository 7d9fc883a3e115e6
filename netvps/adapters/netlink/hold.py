"""Who has the overlay of this network namespace: one process, by an abstract socket (unix(7)).

    netvps overlay nv0          bound by whoever has it
    netvps overlay nv0 yields   bound, too, by who gives it up for a runner that asks: a server

Such a name is the namespace's, and goes with the process, however that ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from contextlib import suppress
from typing import Final, Self

from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames
from netvps.errors import Unavailable

_LOOK: Final = 0.05
_SENDER: Final = struct.Struct("3i")
"""Process, user, group: struct ucred."""


class Hold:
    """One process' hold, or its wish for it."""

    def __init__(self, names: ObjectNames = OBJECT_NAMES) -> None:
        self._name = _name(names)
        self._lock: socket.socket | None = None

    def take(self) -> bool:
        """Takes hold, until `free`; False if another process has it."""
        if self._lock is None:
            self._lock = _bound(self._name)
        return self._lock is not None

    async def take_over(self, seconds: float) -> bool:
        """Takes hold, also from who yields, if that is done within so many seconds."""
        if self.take():
            return True
        if not self._ask():
            return False
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.take():  # noqa: ASYNC110 — another process lets go
                    await asyncio.sleep(_LOOK)
        return self._lock is not None

    def held(self) -> bool:
        """Whether any process has it."""
        with _opened() as visitor:
            return visitor.connect_ex(self._name) == 0

    def yields(self) -> bool:
        """Whether who has it gives it up for a runner."""
        with _opened() as visitor:
            return visitor.connect_ex(_yielding(self._name)) == 0

    def free(self) -> None:
        """Lets go. Twice is fine."""
        if self._lock:
            self._lock.close()
        self._lock = None

    def _ask(self) -> bool:
        with _opened() as visitor:
            try:
                visitor.sendto(b"?", socket.MSG_DONTWAIT, _yielding(self._name))
            except BlockingIOError:  # it has been asked often enough
                return True
            except OSError:
                return False
        return True


class Yielding:
    """Hears runners ask: a context manager, to be entered before the hold is taken.

    Raises Unavailable if another process does.
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
            raise Unavailable("another server of this machine is about to have the overlay") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def asked(self) -> None:
        """Returns when somebody asks who may: root, or our own user. Anybody can send something there."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._socket, heard.set)
        try:
            while True:
                await heard.wait()
                heard.clear()
                if self._sender() in {0, os.geteuid()}:
                    return
        finally:
            loop.remove_reader(self._socket)

    def _sender(self) -> int:
        """User id of who sent the next message; -1 if that is not known."""
        try:
            _, told, _, _ = self._socket.recvmsg(1, socket.CMSG_SPACE(_SENDER.size), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return -1
        return next((_SENDER.unpack(data)[1] for _, kind, data in told if kind == socket.SCM_CREDENTIALS), -1)


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
