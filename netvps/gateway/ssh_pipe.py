"""The packet pipe: SSH messages of the connection protocol (80 and above) pass verbatim between two SSH connections.

Each leg does its own key exchange, encryption and authentication; what comes above that (channels, forwards, global
requests, and whatever will be invented) is passed on as it came, so that the gateway needs no code for any of it, and
channel numbers, windows and the order of replies are those of the two ends.

asyncssh has no such thing: this file stands on the inside of its connection classes, which is why its version is
pinned exactly, and tests/gateway/test_ssh_pipe.py says what must hold before the pin moves:

- `_recv_packet` refuses messages >= 80 before authentication, looks channels up as `self._channels[number]`, and gives
  a message to `process_packet` of what it finds, with its whole payload;
- `send_packet` defers messages >= 80 in `_deferred_packets` while keys are exchanged, and `send_newkeys` ends in
  `_send_deferred_packets`; it asks for an MSG_IGNORE ahead of each packet, against an attack on CBC, which is not
  offered here: leaving it out makes the pipe a third faster;
- `_recv_packet` empties `_packet` when it has taken a message, also one whose handling goes on in a task;
- a certificate is given to `_validate_openssh_certificate` once its signature by the CA that it names is verified;
- `_send_kexinit` begins each key exchange, `_cleanup` ends each connection, `_force_close` aborts the transport, and
  with it what was written and not sent: `end` does not use it.

asyncssh ignores pause_writing. Here it pauses reading on the other leg, and so do packets deferred by a key exchange,
except on a leg that exchanges keys itself: two legs that wait for each other's exchange would wait for ever.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from asyncssh import DisconnectError, SSHClientConnection, SSHServerConnection
from asyncssh.constants import (
    DISC_BY_APPLICATION,
    DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
    DISC_PROTOCOL_ERROR,
    MSG_DEBUG,
    MSG_GLOBAL_REQUEST,
    MSG_IGNORE,
    MSG_UNIMPLEMENTED,
    MSG_USERAUTH_LAST,
)
from asyncssh.packet import SSHPacket, String

from netvps.gateway.ssh_pacing import Paced

if TYPE_CHECKING:
    from asyncssh import SSHKey
    from asyncssh.public_key import SSHOpenSSHCertificate

    from netvps.domain.admission import Ticket

QUEUE_LIMIT = 256 * 1024
"""Bytes that a leg may send before the other is there."""
QUEUE_MESSAGES = 4096
"""Messages, likewise: each costs memory beyond its bytes."""
LOGIN_BYTES = 64 * 1024
"""Bytes that a client may send until it is logged in: six keys of 16,384 bits, with certificates, are half of that."""
LOGIN_PACKETS = 200
UNPACED_LIMIT = 16 << 20
"""Bytes that a leg may send while it exchanges keys and the other is stuck: more than is in flight anywhere."""
LINGER = 10.0
"""Seconds that the last packets and the reason have for getting through."""
MAX_TRIES = 6
_PADDING = {MSG_IGNORE, MSG_UNIMPLEMENTED, MSG_DEBUG}
_TOO_MANY = (
    f"Too many authentication failures: {MAX_TRIES} keys were refused; offer one, with ssh -o IdentitiesOnly=yes"
    " -i FILE, or let `netvps config-ssh` choose it"
)
_TOO_MUCH = "too much data before the login"
_HOST_KEYS = bytes([MSG_GLOBAL_REQUEST]) + String("hostkeys-00@openssh.com")


class _Everyone(dict[int, Any]):
    """Channels as `_recv_packet` looks them up: all of them are the leg's own."""

    def __init__(self, leg: Leg) -> None:
        super().__init__()
        self._leg = leg

    def __missing__(self, _number: int) -> Leg:
        return self._leg


class Leg(Paced):
    """One of the two connections; what both have in common."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._channels = _Everyone(self)
        self.other: Leg | None = None
        self.lost: Exception | None = None
        """Why the connection ended, where that was not by choice."""
        self.passed = 0
        """Bytes of messages that came in here for the other leg."""
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._write_paused = False
        self._unpaced = 0
        self._ending: tuple[int, str] | None = None
        self._said_goodbye = False
        self._linger: asyncio.TimerHandle | None = None

    def join(self, other: Leg) -> None:
        """Makes the two a pipe; what was queued passes first."""
        self.other, other.other = other, self
        self.flush()
        other.flush()

    def flush(self) -> None:
        """Passes on what came before there was another leg."""
        queue, self._queue, self._queued_bytes = self._queue, [], 0
        for payload in queue:
            self._pass(payload)

    def end(self, code: int, reason: str) -> None:
        """Sends what is pending, says why, and closes; after 10 s, or when the peer closed, it is over in any case."""
        if self._ending is not None or self._transport is None:
            return
        self._ending = (code, reason)
        self._linger = self._loop.call_later(LINGER, self.abort)
        if not self._deferred_packets:
            self._say_goodbye()

    def is_ending(self) -> bool:
        """Whether nothing more is to be sent but what is pending."""
        return self._ending is not None

    def _say_goodbye(self) -> None:
        if self._ending is None or self._said_goodbye or self._transport is None:
            return
        self._said_goodbye = True
        code, reason = self._ending
        self._send_disconnect(code, reason, "en")
        # Not close(): with bytes of the peer unread, the kernel would reset the connection, and the reason be lost.
        try:
            self._transport.write_eof()
        except OSError:  # the peer has reset it, which the transport has not noticed yet
            self.abort()
            return
        self.forget_unread()
        self.balance()

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        """Passes on what is the other leg's; the rest is asyncssh's."""
        if pkttype <= MSG_USERAUTH_LAST:
            return super().process_packet(pkttype, pktid, packet)
        payload = packet.get_full_payload()
        if self._ending is None and not self._is_own(payload):
            if self.other is None:
                self._enqueue(payload)
            else:
                self._pass(payload)
        return True

    def _is_own(self, _payload: bytes) -> bool:
        return False

    def _enqueue(self, payload: bytes) -> None:
        self._queue.append(payload)
        self._queued_bytes += len(payload)
        if self._queued_bytes > QUEUE_LIMIT or len(self._queue) > QUEUE_MESSAGES:
            raise DisconnectError(DISC_PROTOCOL_ERROR, "too much data before the session was there")

    def _pass(self, payload: bytes) -> None:
        if self.other is None or self.other.is_ending():
            return
        self.passed += len(payload)
        self.other.send_packet(payload[0], payload[1:])
        if not self.other.is_stuck():
            self._unpaced = 0
            return
        self.balance()
        if not self._held:
            self._unpaced += len(payload)
            if self._unpaced > UNPACED_LIMIT:
                raise DisconnectError(DISC_PROTOCOL_ERROR, "too much data during a key exchange")

    # Pacing

    def is_stuck(self) -> bool:
        """Whether what it is given to send piles up."""
        return self._write_paused or bool(self._deferred_packets)

    def must_wait(self) -> bool:
        """Whether the other leg can take no more; not while this one has keys to exchange, or only waits for the end.

        And whether this turn of the event loop had enough of it, whatever else.
        """
        if super().must_wait():
            return True
        stuck = self.other is not None and self.other.is_stuck()
        return stuck and self._kex_complete and not self._said_goodbye

    def _balance_both(self) -> None:
        self.balance()
        if self.other is not None:
            self.other.balance()

    def pause_writing(self) -> None:
        """The transport has enough: the other leg stops reading."""
        self._write_paused = True
        self._balance_both()

    def resume_writing(self) -> None:
        """The transport takes more again."""
        self._write_paused = False
        self._balance_both()

    def _send_kexinit(self) -> None:
        super()._send_kexinit()
        self._balance_both()

    def _send_deferred_packets(self) -> None:
        super()._send_deferred_packets()
        self._balance_both()
        if not self._deferred_packets:
            self._say_goodbye()

    # Both ends of a connection's life

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Without asyncssh's MSG_IGNORE, see above."""
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """After the reason was sent, only the end is waited for."""
        if not self._said_goodbye:
            super().data_received(data, datatype)

    def _cleanup(self, exc: Exception | None) -> None:
        self.lost = exc
        self._queue.clear()
        self._queued_bytes = 0
        self._deferred_packets.clear()
        if self._linger is not None:
            self._linger.cancel()
        super()._cleanup(exc)
        if self.other is not None:
            self.other.balance()


class ClientLeg(Leg, SSHServerConnection):
    """The connection to a person's SSH client."""

    ticket: Ticket | None = None
    """By which the listener knows it until it is logged in."""
    _failures = 0
    _login_bytes = LOGIN_BYTES
    _login_packets = LOGIN_PACKETS

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Until the login is over, counts bytes, and acknowledges at once.

        OpenSSH then sends small messages in a row; its kernel holds each back until the one before is acknowledged
        (Nagle), which ours puts off by 40 ms as long as it has no answer to send along.
        """
        if not self._auth_complete:
            self._login_bytes -= len(data)
            if self._login_bytes < 0:
                self._too_much()
                return
        super().data_received(data, datatype)
        client = None if self._auth_complete else self.get_extra_info("socket")
        if client is not None and client.family in {socket.AF_INET, socket.AF_INET6}:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _too_much(self) -> None:
        """Its signature may be being checked in this moment, so what comes is not even parsed."""
        self.forget_unread()
        self._send_disconnect(DISC_PROTOCOL_ERROR, _TOO_MUCH, "en")
        self._force_close(DisconnectError(DISC_PROTOCOL_ERROR, _TOO_MUCH))

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        """Refuses what no client sends before it has keys: as fast as it comes, it would cost a stranger nothing."""
        if self._recv_encryption is None and pkttype in _PADDING:
            raise DisconnectError(DISC_PROTOCOL_ERROR, f"message {pkttype} before the first key exchange")
        return super().process_packet(pkttype, pktid, packet)

    def _recv_packet(self) -> bool:
        done = super()._recv_packet()
        if not self._auth_complete and not self._packet:  # it was taken whole, even if what it asks for takes longer
            self._login_packets -= 1
            if self._login_packets < 0:
                raise DisconnectError(DISC_PROTOCOL_ERROR, _TOO_MUCH)
        return done

    def spoke(self) -> bool:
        """Whether the client sent any message at all."""
        return self._login_packets < LOGIN_PACKETS

    async def _validate_openssh_certificate(self, username: str, cert: SSHOpenSSHCertificate) -> SSHKey | None:
        """Asks the owner, where asyncssh would ask for a principal that equals the login."""
        return cert.key if await self._owner.validate_certificate(username, cert) else None  # type: ignore[attr-defined] # a Visit

    async def reload_config(self) -> None:
        """There is no configuration file whose rules could depend on the user."""

    def send_userauth_failure(self, partial_success: bool) -> None:
        """Counts tries, as sshd does; the first is `none`, with which clients ask for the methods."""
        self._failures += 1
        if self._failures > MAX_TRIES + 1:
            raise DisconnectError(DISC_NO_MORE_AUTH_METHODS_AVAILABLE, _TOO_MANY)
        super().send_userauth_failure(partial_success)

    async def send_userauth_success(self) -> None:
        """The signature is good; the owner of the connection has the last word."""
        if reason := self._owner.refusal():  # type: ignore[attr-defined] # a Visit
            self._refuse(reason)
        else:
            await super().send_userauth_success()

    def _refuse(self, reason: str) -> None:
        """Ends a connection whose user is known. OpenSSH and PuTTY show the reason; others show banners only."""
        if not self._client_version.startswith((b"SSH-2.0-OpenSSH", b"SSH-2.0-PuTTY")):
            self.send_auth_banner(f"{reason}\r\n")
        self.end(DISC_BY_APPLICATION, reason)


class AgentLeg(Leg, SSHClientConnection):
    """The connection to a session's agent."""

    def _is_own(self, payload: bytes) -> bool:
        # These keys are the agent's; the client would take them for the gateway's.
        return payload.startswith(_HOST_KEYS)
