"""Finds out whether a client wants a terminal, before there is a session that could be asked.

A client asks for a terminal on a channel, which it opens first. So the gateway confirms the first channel in the
agent's stead, with a window of 0, and reads the requests that follow. Once the agent is there, the gateway opens the
channel, gives the client the agent's window, and passes all messages on:

    client ── open ──► gateway
           ◄─ confirmation, window 0 ─
           ── pty-req, shell ─►                       ── open ──► agent
           ◄─ window +W ─                             ◄─ confirmation, window W ─
                                                      ── pty-req, shell ──►

The requests must wait for the confirmation: x/crypto drops what arrives for a channel before that. And the agent must
give the first channel of a connection the number 0, as the client was informed, which is checked.
"""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING, Final, Protocol

from asyncssh.constants import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.packet import PacketDecodeError, SSHPacket, String

from netvps.domain.sleep.waking import LoginKind
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    Send = Callable[[int, bytes], None]

    class Agent(Protocol):
        """The connection to the agent."""

        probe: TerminalProbe | None
        """Gets the agent's messages first."""

        def send_packet(self, pkttype: int, *args: bytes) -> None:
            """Sends a message."""


_NUMBER: Final = 0
"""Of the first channel at the agent."""
_PACKET: Final = 32 * 1024
"""Largest packet that is announced to the client; the agent accepts as much."""
_PROGRAMS: Final = frozenset({b"shell", b"exec", b"subsystem"})
_MIN_WINDOW: Final = 4096
_ANSWER_SECONDS: Final = 15.0
_REQUEST_SECONDS: Final = 20.0
"""How long a client has for its first request."""


class TerminalProbe:
    """Answers the first channel of a client, and says whether a terminal was asked for on it."""

    def __init__(self, send: Send) -> None:
        """`send` sends a message, by its number and the rest of it, to the client."""
        self._send = send
        self.sftp = False
        """Whether the client asked for SFTP, and so for no terminal."""
        self._wanted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._channel: int | None = None
        """The client's number of the channel that was confirmed."""
        self._window = self._sent = 0
        """What the client accepts on it, and what was sent."""
        self.opening = b""
        """The message that opened the channel."""
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def kind(self) -> LoginKind:
        """Waits until the client has shown whether it wants a terminal."""
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                return LoginKind.TERMINAL if await self._wanted else LoginKind.PLAIN
        except TimeoutError:
            return LoginKind.PLAIN

    def take(self, payload: bytes) -> bool:
        """Reads a message of the client; whether it is one that the agent does not get from the client's queue."""
        opens = self._channel is None
        try:
            self._read(SSHPacket(payload[1:]), payload[0])
        except PacketDecodeError:  # the agent answers that
            self._decide(wanted=False)
        if opens and self._channel is not None:
            self.opening = payload
            return True
        return False

    def _read(self, packet: SSHPacket, kind: int) -> None:
        if kind == MSG_CHANNEL_OPEN and self._channel is None:
            name, channel, window = packet.get_string(), packet.get_uint32(), packet.get_uint32()
            if name != b"session":
                self._decide(wanted=False)
                return
            self._channel, self._window = channel, window
            self._send(MSG_CHANNEL_OPEN_CONFIRMATION, struct.pack("!IIII", channel, _NUMBER, 0, _PACKET))
        elif kind == MSG_CHANNEL_REQUEST and packet.get_uint32() == _NUMBER:
            request = packet.get_string()
            if request == b"subsystem" and not self._wanted.done():
                self.sftp = packet.get_boolean() in {True, False} and packet.get_string() == b"sftp"
            if request == b"pty-req" or request in _PROGRAMS:
                self._decide(wanted=request == b"pty-req")

    def _decide(self, *, wanted: bool) -> None:
        if not self._wanted.done():
            self._wanted.set_result(wanted)

    def say(self, line: str) -> None:
        """Shows a line on the client's terminal, as far as its window allows."""
        data = f"netvps: {line}\r\n".encode()
        if self._channel is None or self._opened.done() or self._sent + len(data) > self._window - _MIN_WINDOW:
            return
        self._sent += len(data)
        self._send(MSG_CHANNEL_DATA, struct.pack("!I", self._channel) + String(data))

    async def open_at(self, agent: Agent) -> None:
        """Opens the channel at the agent. Raises Unavailable if that refuses it or does not answer."""
        if self._channel is None:
            return
        packet = SSHPacket(self.opening[1:])
        name, channel, window = packet.get_string(), packet.get_uint32(), packet.get_uint32()
        left = struct.pack("!II", channel, window - self._sent)
        agent.probe = self
        try:
            agent.send_packet(MSG_CHANNEL_OPEN, String(name), left, packet.get_remaining_payload())
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._opened
        except TimeoutError:
            raise Unavailable(f"the session opened no terminal within {_ANSWER_SECONDS:.0f} s") from None
        finally:
            agent.probe = None

    def takes_answer(self, payload: bytes) -> bool:
        """Whether a message of the agent is its answer to the opening, which the client must not get again."""
        kind = payload[0]
        if self._opened.done() or kind not in {MSG_CHANNEL_OPEN_CONFIRMATION, MSG_CHANNEL_OPEN_FAILURE}:
            return False
        sender, window = struct.unpack_from("!II", payload, 5) if kind == MSG_CHANNEL_OPEN_CONFIRMATION else (-1, 0)
        if sender != _NUMBER or self._channel is None:
            self._opened.set_exception(Unavailable("the session opened no terminal"))
        else:
            self._send(MSG_CHANNEL_WINDOW_ADJUST, struct.pack("!II", self._channel, window))
            self._opened.set_result(None)
        return True
