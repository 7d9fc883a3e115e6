"""The relay's process, and how a pair of connections is handed over to it.

Where there is none, or it does not know a cipher, the gateway goes on to pass the messages itself. When the relay dies,
the pairs that it serves end, and it is started again.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.gateway.relay.carried import Carried
from netvps.gateway.relay.pair import RelayedPair, RelayTransport
from netvps.gateway.relay.process import SocketProcess
from netvps.gateway.relay.wire import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from netvps.gateway.ssh.pipe import PipeEnd

log = structlog.get_logger()

_MOVE_SECONDS: Final = 5.0
"""Within which both connections must be between key exchanges, with nothing to be sent."""
_LOOK_EVERY: Final = 0.01
_FILES: Final = 3
"""Of a message: the connection about it, the client's, and the agent's."""


class Relay:
    """An async context manager; its end ends the process, and all pairs with it."""

    def __init__(self, program: Path | None) -> None:
        """`program` is the agent's binary; without one, nothing is handed over."""
        self._process = SocketProcess(program, "relay", without="SSH is slower")

    async def __aenter__(self) -> Self:
        await self._process.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._process.__aexit__()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._process.pid

    async def take(self, client: PipeEnd, agent: PipeEnd) -> bool:
        """Hands two joined connections over, and returns whether it did. Otherwise they go on here."""
        ends = (client, agent)
        if self._process.socket is None or not all(end.can_move() for end in ends):
            return False
        pair = RelayedPair(ends)
        ours, theirs = socket.socketpair()
        moved = False
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: pair, sock=ours)
            moved = await self._between_exchanges(ends) and self._hand_over(ends, pair, theirs)
        except OSError as error:
            log.warning("the relay did not take a connection: it stays in the gateway", error=str(error))
        finally:
            theirs.close()
            if not moved:
                pair.give_up()
                for end in ends:
                    end.stay()
        return moved

    async def carry(self, client: asyncio.Transport, agent: asyncio.Transport) -> Carried | None:
        """Has the bytes of two sockets passed on unread, and closes them here; None if it cannot, and they stay.

        Both must be paused, with nothing to be sent.
        """
        if self._process.socket is None or client.get_write_buffer_size() or agent.get_write_buffer_size():
            return None
        ours, theirs = socket.socketpair()
        carried = Carried()
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: carried, sock=ours)
            ends = [end.get_extra_info("socket").fileno() for end in (client, agent) if not end.is_closing()]
            self._send(b"carry", [theirs.fileno(), *ends])
        except OSError as error:
            log.warning("the relay did not take a connection: it stays in the gateway", error=str(error))
            carried.abort()
            return None
        finally:
            theirs.close()
        for end in (client, agent):
            end.set_protocol(asyncio.Protocol())
            end.abort()
        return carried

    async def _between_exchanges(self, ends: Sequence[PipeEnd]) -> bool:
        """Pauses both, and waits until nothing is under way between them and their peers."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _MOVE_SECONDS
        while loop.time() < until and all(end.can_move() for end in ends):
            if all([end.prepare_move() for end in ends]):  # noqa: C419 — all of them, also after one that cannot
                return True
            await asyncio.sleep(_LOOK_EVERY)
        return False

    def _send(self, kind: bytes, descriptors: Sequence[int]) -> None:
        """Sends a message with its three descriptors. Raises OSError."""
        if self._process.socket is None or len(descriptors) != _FILES:
            raise ConnectionResetError("the relay, or the connection, ended")
        socket.send_fds(self._process.socket, [kind], descriptors)

    def _hand_over(self, ends: tuple[PipeEnd, PipeEnd], pair: RelayedPair, theirs: socket.socket) -> bool:
        """Without a pause: nothing may arrive between what is read here and what the relay reads. Raises OSError."""
        self._send(b"pair", [theirs.fileno(), *(end.descriptor for end in ends)])
        states = [end.state_to_move() for end in ends]
        pair.send(Kind.START, 0, json.dumps({"sides": states}).encode())
        for side, end in enumerate(ends):
            end.move_to(RelayTransport(pair, side, end.addresses()))
        return True
