"""A connection of the pipe that the relay may take over (netvps/gateway/relay).

From then on asyncssh gets only the messages below 80, in plain packets: it runs key exchanges, and passes the new keys
on to the relay. `_recv_packet` and `send_packet` know encryption only as `_recv_encryption` and `_send_encryption`,
which `_process_newkeys` and `send_newkeys` set; these are replaced here.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Any, cast

from asyncssh import MACError, ProtocolError
from asyncssh.constants import MSG_NEWKEYS

from netvps.gateway.relay.keys import PlainEncryption, is_known, keys_of, plain_packet
from netvps.gateway.relay.wire import Cause
from netvps.gateway.ssh.pacing import Paced

if TYPE_CHECKING:
    from asyncssh.encryption import Encryption
    from asyncssh.packet import SSHPacket

    from netvps.gateway.relay.keys import Keys
    from netvps.gateway.relay.pair import RelayTransport


class Relayed(Paced):
    """A mixin for asyncssh's connection classes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._relay: RelayTransport | None = None
        self._moving = False
        self.not_relayed = b""
        """Messages from the peer that begin with this are dropped."""
        self.passed = 0
        """Bytes of messages received here for the other side."""

    @property
    def is_relayed(self) -> bool:
        """Whether the relay has the connection."""
        return self._relay is not None

    # Before

    def can_move(self) -> bool:
        """Whether the relay could take it: it is a socket's, and the ciphers are known."""
        transport = self._transport
        if transport is None or transport.is_closing() or self._relay is not None:
            return False
        has_socket = transport.get_extra_info("socket") is not None
        return has_socket and is_known(self._recv_encryption) and is_known(self._send_encryption)

    def prepare_move(self) -> bool:
        """Pauses reading unless keys are being exchanged; returns whether it can move now."""
        transport = self._transport
        self._moving = transport is not None and self._is_between_exchanges()
        self.balance()
        return self._moving and transport is not None and not transport.get_write_buffer_size()

    def _is_between_exchanges(self) -> bool:
        exchanging = self._kex or self._kexinit_sent or self._next_recv_encryption or self._deferred_packets
        at_packet = self._recv_handler in (self._recv_pkthdr, self._recv_packet)
        return bool(self._auth_complete and self._kex_complete and not exchanging and at_packet)

    def stay(self) -> None:
        """Goes on reading: the relay did not take it."""
        self._moving = False
        self.balance()

    def must_wait(self) -> bool:
        """Also while it is about to move."""
        return self._moving or super().must_wait()

    # The move

    @property
    def descriptor(self) -> int:
        """Its socket."""
        assert self._transport is not None  # noqa: S101 — can_move
        return cast("int", self._transport.get_extra_info("socket").fileno())

    def addresses(self) -> dict[str, Any]:
        """What its transport is asked for later."""
        return {name: self.get_extra_info(name) for name in ("peername", "sockname")}

    def state_to_move(self) -> dict[str, Any]:
        """What the relay needs to go on. The ciphers must not be used afterwards."""
        rest = b"".join((self._packet, self._inpbuf, *self._unread))
        return {
            "recv": self._known_keys(self._recv_encryption, first=self._packet),
            "send": self._known_keys(self._send_encryption),
            "recv_seq": self._recv_seq,
            "send_seq": self._send_seq,
            "strict": self._strict_kex,
            "limit": self._max_recv_pktlen,
            "rekey_bytes": self._rekey_bytes,
            "rekey_seconds": self._rekey_seconds or 0,
            "sent": self._rekey_bytes_sent,
            "skips": b64encode(self.not_relayed).decode(),
            "rest": b64encode(rest).decode(),
            "passed": self.passed,
        }

    def move_to(self, transport: RelayTransport) -> None:
        """Uses the relay's transport from now on, and closes its own descriptor of the socket."""
        old = self._transport
        self.forget_unread()
        self._inpbuf = self._packet = b""
        self._recv_handler = self._recv_pkthdr
        self._receive_plain()
        self._send_encryption = PlainEncryption()
        self._held = self._moving = False
        self._transport = self._relay = transport
        assert old is not None  # noqa: S101 — can_move
        old.set_protocol(asyncio.Protocol())
        old.abort()

    def _receive_plain(self) -> None:
        self._recv_encryption = PlainEncryption()
        self._recv_macsize = 0

    @staticmethod
    def _known_keys(encryption: Encryption | None, *, first: bytes = b"") -> Keys:
        if (keys := keys_of(encryption, first=first)) is None:
            raise ProtocolError("the new cipher is another kind than the one before")
        return keys

    # Afterwards: called by the relay's pair

    def relayed(self, sequence: int, payload: bytes) -> None:
        """Handles a message below 80."""
        if self._transport is not None:
            self._recv_seq = sequence
            self.data_received(plain_packet(payload))

    def keys_due(self) -> None:
        """Starts a key exchange, as send_packet does after a number of bytes."""
        if self._transport is not None and self._kex_complete and not self._kex:
            self._send_kexinit()
            self._kexinit_sent = True

    def violated(self, cause: Cause, text: str) -> None:
        """Disconnects a peer that broke the protocol, as `_recv_data` does."""
        error = MACError(text) if cause is Cause.MAC else ProtocolError(text)
        self._send_disconnect(error.code, error.reason, error.lang)
        self._force_close(error)

    # Called by asyncssh

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        """Passes the keys on that are used after a received NEWKEYS."""
        result = super().process_packet(pkttype, pktid, packet)
        if pkttype == MSG_NEWKEYS and self._relay is not None:
            self._relay.receive_with(self._known_keys(self._recv_encryption))
            self._receive_plain()
        return result

    def _send_deferred_packets(self) -> None:
        """Passes the keys on that are used after a sent NEWKEYS; `send_newkeys` ends in this method."""
        if self._relay is not None and not isinstance(self._send_encryption, PlainEncryption):
            self._relay.send_with(self._known_keys(self._send_encryption))
            self._send_encryption = PlainEncryption()
        super()._send_deferred_packets()
