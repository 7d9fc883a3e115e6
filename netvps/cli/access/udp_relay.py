"""Relays UDP ports of this machine to those of a session, over the standard input and output of an ssh.

A frame is a flow, a port and a length (big-endian: 4, 2 and 2 bytes), then the datagram, in both directions. Each peer
here is a flow, and has a socket of its own in the session. The agent's end is tunnel/udp.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SUBSYSTEM: Final = "udp@netvps"
FLOWS: Final = 1024
"""Maximum number of peers; beyond it the least recent one is forgotten. The agent ends a flow after an idle minute."""
PENDING: Final = 1 << 20
"""Bytes for ssh beyond which datagrams are dropped."""
_HEAD: Final = struct.Struct("!IHH")
_END_SECONDS: Final = 5.0
_Peer = tuple["_Port", Any]


async def relay(argv: Sequence[str], address: str, ports: Iterable[tuple[int, int]]) -> int:
    """Listens on UDP ports here, and relays to those of the session until ssh ends; returns its exit code.

    `ports` are pairs of a port here and one of the session. Raises ConfigError if a port here cannot be had.
    """
    flows = Flows()
    loop = asyncio.get_running_loop()
    transports: list[asyncio.DatagramTransport] = []
    try:
        for here, there in ports:
            try:
                transport, _ = await loop.create_datagram_endpoint(partial(_Port, flows, there), (address, here))
            except OSError as error:
                raise ConfigError(
                    f"cannot listen on UDP {address}:{here}: {error.strerror or error}; choose another port, as in"
                    f" 10053:{there}/udp"
                ) from None
            transports.append(transport)
        return await _run(argv, flows)
    finally:
        for transport in transports:
            transport.close()


async def _run(argv: Sequence[str], flows: Flows) -> int:
    ssh = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    try:
        flows.to_session = cast("asyncio.StreamWriter", ssh.stdin)
        with suppress(asyncio.IncompleteReadError):
            await flows.deliver(cast("asyncio.StreamReader", ssh.stdout))
        return await ssh.wait()
    finally:
        if ssh.returncode is None:
            with suppress(ProcessLookupError):
                ssh.terminate()
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await ssh.wait()


class Flows:
    """Numbers of peers, in both directions. `to_session` takes frames; without it they are dropped."""

    def __init__(self) -> None:
        self.to_session: asyncio.StreamWriter | None = None
        self._numbers: OrderedDict[_Peer, int] = OrderedDict()
        self._peers: dict[int, _Peer] = {}
        self._next = 1

    def send(self, peer: _Peer, data: bytes) -> None:
        """Sends a datagram of a peer, unless ssh is behind."""
        writer = self.to_session
        if writer is None or writer.is_closing() or writer.transport.get_write_buffer_size() > PENDING:
            return
        writer.write(_HEAD.pack(self._number(peer), peer[0].there, len(data)) + data)

    async def deliver(self, reader: asyncio.StreamReader) -> None:
        """Gives datagrams of the session to their peers. Raises IncompleteReadError at the end."""
        while True:
            number, _, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
            data = await reader.readexactly(size)
            if peer := self._peers.get(number):
                peer[0].transport.sendto(data, peer[1])

    def _number(self, peer: _Peer) -> int:
        number = self._numbers.get(peer)
        if number is None:
            number, self._next = self._next, self._next % 0xFFFFFFFF + 1
            self._numbers[peer], self._peers[number] = number, peer
            if len(self._numbers) > FLOWS:
                _, oldest = self._numbers.popitem(last=False)
                del self._peers[oldest]
        self._numbers.move_to_end(peer)
        return number


class _Port(asyncio.DatagramProtocol):
    """A UDP port of this machine."""

    def __init__(self, flows: Flows, there: int) -> None:
        self._flows = flows
        self.there = there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._flows.send((self, addr), data)


def run(argv: Sequence[str], address: str, ports: Iterable[tuple[int, int]]) -> int:
    """Relays until ssh ends, or until Ctrl-C; returns ssh's exit code."""
    sys.stderr.flush()
    return asyncio.run(relay(argv, address, ports))
