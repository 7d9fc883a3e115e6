"""The process before the tunnel's port (tunnel/front), and the direct connections of agents that it holds.

It passes gRPC on to the server's own socket. Direct connections of agents end in it; it asks here about each, and joins
it with a socket of a gateway process. So the bytes of sessions never pass through this process.
"""

from __future__ import annotations

import asyncio
import json
import socket
from base64 import b64encode
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from netvps.domain.access.identity import SessionIdentity, parse_identity
from netvps.errors import InvalidInput
from netvps.gateway.relay.process import SocketProcess
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netvps.gateway.tunnel.tunnels import Tunnels

log = structlog.get_logger()

_LIMIT: Final = 64 * 1024
"""Maximum size of a message in bytes."""
_AGAIN: Final = 0.02
"""Seconds until a message is sent again that the process did not take at once."""


@dataclass(frozen=True, slots=True)
class Behind:
    """What the process needs: PEM of the server's certificate and key and of the CA, and the path of gRPC's socket."""

    certificate: str
    key: str
    ca: str
    socket: Path


class Front:
    """An async context manager. Its end ends the process and all direct connections; call `serve` in between."""

    def __init__(self, program: Path, listening: socket.socket, behind: Behind, tunnels: Tunnels) -> None:
        """`program` is the agent's binary. Closes the listening socket at the end."""
        self._listening = listening
        self._behind = behind
        self._tunnels = tunnels
        self._process = SocketProcess(
            program,
            "front",
            without="runners and agents cannot connect",
            started=self._started,
            ended=self._ended,
        )
        self._socket: socket.socket | None = None
        self._open: dict[int, DirectConnection] = {}
        self._unsent: deque[bytes] = deque()
        self._reader: asyncio.Task[None] | None = None
        self._serving = False
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        await self._process.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop_accepting()
        await self._process.__aexit__()
        await self._tasks.__aexit__()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is ready."""
        return self._process.socket is not None

    def serve(self) -> None:
        """Starts accepting, once gRPC listens. Raises OSError if the process has just ended."""
        self._serving = True
        if self._process.socket is not None:
            self._started(self._process.socket)

    def stop_accepting(self) -> None:
        """Accepts no more connections; open ones continue. Idempotent."""
        if self._listening.fileno() >= 0:
            self._listening.close()
            self.send({"drain": True})

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Sends a message. With a descriptor it is sent at once, or OSError is raised."""
        if self._socket is None:
            if descriptor is not None:
                raise ConnectionResetError("the process before the tunnel's port has ended")
            return
        text = json.dumps(message).encode()
        if descriptor is not None:
            socket.send_fds(self._socket, [text], [descriptor])
            return
        self._unsent.append(text)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._unsent and self._socket is not None:
                self._socket.send(self._unsent[0])
                self._unsent.popleft()
        except BlockingIOError:
            asyncio.get_running_loop().call_later(_AGAIN, self._flush)
        except OSError:
            self._unsent.clear()  # it has ended

    def _started(self, sock: socket.socket) -> None:
        """Hands the port to a process that is ready. Raises OSError."""
        if not self._serving or self._listening.fileno() < 0:
            return  # the server is starting or stopping
        behind = self._behind
        first = {
            "certificate": behind.certificate,
            "key": behind.key,
            "ca": behind.ca,
            "behind": str(behind.socket),
        }
        socket.send_fds(sock, [json.dumps(first).encode()], [self._listening.fileno()])
        self._socket = sock
        self._reader = self._tasks.start(self._read(sock), name="front")
        self._tunnels.direct = True

    async def _ended(self) -> None:
        self._tunnels.direct = False
        self._socket = None
        self._unsent.clear()
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None
        for connection in self._open.values():
            connection.ended()
        self._open.clear()

    async def _read(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while text := await loop.sock_recv(sock, _LIMIT):
                self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        if (number := message.get("arrived")) is not None:
            self._arrived(number, message["identity"], message["dial"])
        elif (found := self._open.pop(message["ended"], None)) is not None:
            found.ended()

    def _arrived(self, number: int, uri: str, dial_id: str) -> None:
        connection = DirectConnection(self, number)
        try:
            who = parse_identity(uri)
        except InvalidInput:
            who = None
        if isinstance(who, SessionIdentity) and self._tunnels.arrived(who, dial_id, connection):
            self._open[number] = connection
        else:
            connection.abort()


class DirectConnection:
    """A connection of an agent that the process holds, for one dial."""

    way: Final = "tunnel"

    def __init__(self, front: Front, number: int) -> None:
        self._front = front
        self._number = number
        self._over = False
        self.on_end: Callable[[], None] = lambda: None
        """Called once it has ended."""

    def join(self, descriptor: int, first: bytes) -> None:
        """Joins it with a Unix socket, to which `first` is sent first. Raises OSError if it has ended.

        The caller closes its own descriptor.
        """
        if self._over:
            raise ConnectionResetError("the connection to the session broke")
        self._front.send({"join": self._number, "first": b64encode(first).decode()}, descriptor)

    def abort(self) -> None:
        """Ends it immediately. Idempotent."""
        if not self._over:
            self._front.send({"end": self._number})

    def reset(self, reason: str) -> None:
        """Ends it immediately; the reason is for the log."""
        log.info("connection into a session ended", reason=reason)
        self.abort()

    def ended(self) -> None:
        """Called when the process has ended it."""
        if not self._over:
            self._over = True
            self.on_end()
