"""A connection whose first channel a probe confirmed, and whose channels asyncssh serves after all.

asyncssh opens that channel again, from the client's message. Its confirmation becomes the window that the client waits
for, as with an agent (terminal_probe.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncssh import DisconnectError
from asyncssh.constants import (
    DISC_BY_APPLICATION,
    MSG_CHANNEL_FIRST,
    MSG_CHANNEL_LAST,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_WINDOW_ADJUST,
)
from asyncssh.packet import SSHPacket, UInt32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncssh import SSHServerConnection as _Base

    from netvps.gateway.wake.terminal_probe import TerminalProbe
else:
    _Base = object


class ConfirmedChannel(_Base):
    """A mixin for the connection to a client."""

    _confirmed = False
    """Whether asyncssh is to open a channel that the client has a confirmation of."""

    def serve_confirmed(self, probe: TerminalProbe, queue: Sequence[bytes]) -> None:
        """Opens the channel of a probe; `queue` are the messages that came after it."""
        self._confirmed, self._waiting = True, queue
        self._process_again(probe.opening)

    def _process_again(self, *payloads: bytes) -> None:
        for payload in payloads:
            packet = SSHPacket(payload)
            kind = packet.get_byte()
            of_channel = MSG_CHANNEL_FIRST <= kind <= MSG_CHANNEL_LAST
            handler = self._channels[packet.get_uint32()] if of_channel else self
            handler.process_packet(kind, 0, packet)

    def _open(self, kind: int, peer: bytes, own: bytes, window: bytes) -> None:
        self._confirmed = False
        if kind == MSG_CHANNEL_OPEN_FAILURE or own != UInt32(0):
            raise DisconnectError(DISC_BY_APPLICATION, "the gateway opened no channel")
        self.send_packet(MSG_CHANNEL_WINDOW_ADJUST, peer, window)
        self._loop.call_soon(self._process_again, *self._waiting)  # once the channel is open

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Sends a packet, but no second confirmation."""
        if self._confirmed and pkttype in {MSG_CHANNEL_OPEN_CONFIRMATION, MSG_CHANNEL_OPEN_FAILURE}:
            self._open(pkttype, *args[:3])
        else:
            super().send_packet(pkttype, *args, handler=handler)
