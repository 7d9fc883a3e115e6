"""The packet pipe: passes SSH connection protocol messages (80 and above) verbatim between two SSH connections.

Each side does its own key exchange, encryption and authentication. Everything above that (channels, forwards, global
requests, future extensions) is passed on unchanged, so the gateway needs no code for it, and channel numbers, windows
and the order of replies are those of the two ends.

asyncssh has no API for this: this file relies on internals of its connection classes. So asyncssh's version is pinned
exactly, and tests/gateway/ssh/test_pipe.py checks what must hold before the pin moves:

- `_recv_packet` refuses messages >= 80 before authentication, looks channels up as `self._channels[number]`, and passes
  a message to `process_packet` of the result, with its whole payload;
- `send_packet` defers messages >= 80 in `_deferred_packets` while keys are exchanged, and `send_newkeys` ends in
  `_send_deferred_packets`; it sends a MSG_IGNORE before each packet, against an attack on CBC, which is not offered
  here: leaving it out makes the pipe a third faster;
- `_recv_packet` empties `_packet` when it has consumed a message, also one whose handling continues in a task;
- a certificate is passed to `_validate_openssh_certificate` once its signature by the CA that it names is verified;
- `connection_made` calls `_protocol_factory` once, and calls the result back;
- `_send_kexinit` starts each key exchange, `_cleanup` ends each connection, `_force_close` aborts the transport and
  discards unsent data: `end` does not use it.

asyncssh ignores pause_writing. Here it pauses reading on the other side, and so do packets deferred by a key exchange
(rekey). Exception: a side that is exchanging keys itself keeps reading. Otherwise, if both sides rekeyed at once, each
would wait for the other to read, its peer's key exchange messages would stay unread, and both would stall forever.
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
    MSG_REQUEST_FAILURE,
    MSG_UNIMPLEMENTED,
    MSG_USERAUTH_LAST,
)
from asyncssh.packet import SSHPacket, String

from netvps.gateway.proxy.greeting import Greeted
from netvps.gateway.ssh.algorithms import algorithm_of, signature_algorithms
from netvps.gateway.ssh.relayed import Relayed
from netvps.gateway.wake.confirmed import ConfirmedChannel
from netvps.gateway.wake.terminal_probe import TerminalProbe

if TYPE_CHECKING:
    from asyncssh import SSHKey, SSHServerConnectionOptions
    from asyncssh.public_key import SSHOpenSSHCertificate

    from netvps.gateway.ssh.connection import SshConnection

QUEUE_LIMIT = 256 * 1024
"""Bytes that a side may send before the other side is connected."""
QUEUE_MESSAGES = 4096
"""Messages, likewise: each costs memory beyond its bytes."""
LOGIN_BYTES = 64 * 1024
"""Bytes that a client may send before it is logged in; twice the size of six 16,384-bit keys with certificates."""
LOGIN_PACKETS = 200
UNPACED_LIMIT = 16 << 20
"""Bytes that a side may send during a key exchange while the other is stuck: more than is ever in flight."""
LINGER = 10.0
"""Seconds to send pending packets and the reason when a connection ends."""
MAX_TRIES = 6
_PADDING = {MSG_IGNORE, MSG_UNIMPLEMENTED, MSG_DEBUG}
_TOO_MANY = (
    f"Too many authentication failures: {MAX_TRIES} keys were refused; offer one, with ssh -o IdentitiesOnly=yes"
    " -i FILE, or let `netvps config-ssh` choose it"
)
_TOO_MUCH = "too much data before the login"
_SIGNATURES = frozenset(signature_algorithms())
_SHA1 = "RSA and SHA-1"
_WEAK = "netvps: a signature with {} is refused: update the SSH client, or use an Ed25519 key\r\n"
_KEEPALIVE = bytes([MSG_GLOBAL_REQUEST]) + String("keepalive@openssh.com") + b"\1"  # a reply is wanted
_HOST_KEYS = bytes([MSG_GLOBAL_REQUEST]) + String("hostkeys-00@openssh.com")


class _Everyone(dict[int, Any]):
    """The channel table for `_recv_packet`: every channel number maps to the side itself."""

    def __init__(self, end: PipeEnd) -> None:
        super().__init__()
        self._end = end

    def __missing__(self, _number: int) -> PipeEnd:
        return self._end


class PipeEnd(Relayed):
    """Common base of the two connections of a pipe."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._channels = _Everyone(self)
        self.other: PipeEnd | None = None
        self.lost: Exception | None = None
        """Why the connection was lost; None if it was closed regularly."""
        self._queue: list[bytes] = []
        self._queued_bytes = 0
        self._write_paused = False
        self._unpaced = 0
        self._ending: tuple[int, str] | None = None
        self._said_goodbye = False
        self._linger: asyncio.TimerHandle | None = None

    def join(self, other: PipeEnd) -> None:
        """Joins two sides to a pipe; queued messages are passed on first."""
        self.other, other.other = other, self
        self.flush()
        other.flush()

    def flush(self) -> None:
        """Passes on the messages queued before there was another side."""
        queue, self._queue, self._queued_bytes = self._queue, [], 0
        for payload in queue:
            self._pass(payload)

    def end(self, code: int, reason: str) -> None:
        """Sends pending data and the reason, then closes. Aborts after 10 s; ends early when the peer closes."""
        if self._ending is not None or self._transport is None:
            return
        self._ending = (code, reason)
        self._linger = self._loop.call_later(LINGER, self.abort)
        if not self._deferred_packets and (self._kex_complete or not self.is_relayed):
            self._say_goodbye()  # else after the key exchange: the relay holds what has to be sent before

    def is_ending(self) -> bool:
        """Whether only pending data will still be sent."""
        return self._ending is not None

    def _say_goodbye(self) -> None:
        if self._ending is None or self._said_goodbye or self._transport is None:
            return
        self._said_goodbye = True
        code, reason = self._ending
        self._send_disconnect(code, reason, "en")
        # Not close(): the kernel would send a RST if input is unread, and the peer might lose the reason.
        try:
            self._transport.write_eof()
        except OSError:  # the peer reset the connection, and the transport has not noticed yet
            self.abort()
            return
        self.forget_unread()
        self.balance()

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        """Passes messages for the other side on; asyncssh handles the rest."""
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
        """Whether data to be sent accumulates here."""
        return self._write_paused or bool(self._deferred_packets)

    def must_wait(self) -> bool:
        """Whether reading has to pause: the other side is stuck, or this turn's budget is used up.

        A side that is exchanging keys, or only waits for the peer to close, is not paused by the other: see above.
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
        """Pauses reading on the other side, because this transport's buffer is full."""
        self._write_paused = True
        self._balance_both()

    def resume_writing(self) -> None:
        """Resumes reading on the other side."""
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

    # Start and end of a connection

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Sends a packet, but drops asyncssh's MSG_IGNORE, see above."""
        if pkttype != MSG_IGNORE:
            super().send_packet(pkttype, *args, handler=handler)

    def data_received(self, data: bytes, datatype: int | None = None) -> None:
        """Handles data, or ignores it once the reason was sent."""
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


class Downstream(Greeted, ConfirmedChannel, PipeEnd, SSHServerConnection):
    """The connection to a user's SSH client."""

    probe: TerminalProbe | None = None
    """Answers the first channel until the session is there; None if it is, or if that does not matter."""
    _failures = 0
    _login_bytes = LOGIN_BYTES
    _login_packets = LOGIN_PACKETS

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: SSHServerConnectionOptions, connection: SshConnection
    ) -> None:
        super().__init__(loop, options)
        self._connection = connection
        self._protocol_factory = lambda: connection  # which asyncssh calls once, for its callbacks
        self._serves_channels = False

    def start_probe(self) -> TerminalProbe:
        """Lets a probe read what has arrived; it reads what follows as it comes."""
        probe = self.probe = TerminalProbe(self.send_packet)
        self._queue = [payload for payload in self._queue if not probe.take(payload)]
        return probe

    def _enqueue(self, payload: bytes) -> None:
        """Also answers keepalives, as long as no reply that has to come first is open."""
        if payload.startswith(_KEEPALIVE) and not any(each[0] == MSG_GLOBAL_REQUEST for each in self._queue):
            self.send_packet(MSG_REQUEST_FAILURE)
            return
        if self.probe is None or not self.probe.take(payload):
            super()._enqueue(payload)

    def serve_channels(self) -> None:
        """Lets asyncssh serve the client's channels here, instead of passing messages on; before the first of them."""
        self._channels = {}
        self._serves_channels = True

    def serve_probed(self, probe: TerminalProbe) -> None:
        """The same, once a probe confirmed the first channel."""
        queue, self._queue, self._queued_bytes = self._queue, [], 0
        self.probe = None
        self.serve_channels()
        self.serve_confirmed(probe, queue)

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Until the login is complete, counts bytes, and sends TCP ACKs immediately.

        OpenSSH sends several small messages in a row. Nagle's algorithm holds each back until the one before is
        acknowledged, and the local kernel would delay that ACK by up to 40 ms while there is no data to send with it.
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
        """Aborts without parsing the data: a signature may be in verification at this moment."""
        self.forget_unread()
        self._send_disconnect(DISC_PROTOCOL_ERROR, _TOO_MUCH, "en")
        self._force_close(DisconnectError(DISC_PROTOCOL_ERROR, _TOO_MUCH))

    def process_packet(self, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        """Refuses padding messages before the first key exchange.

        No client sends them, and they would be free for a flood.
        """
        if self._recv_encryption is None and pkttype in _PADDING:
            raise DisconnectError(DISC_PROTOCOL_ERROR, f"message {pkttype} before the first key exchange")
        if self._serves_channels:
            return SSHServerConnection.process_packet(self, pkttype, pktid, packet)
        return super().process_packet(pkttype, pktid, packet)

    def _balance_both(self) -> None:
        """Also paces the channels that are served here: asyncssh sends, or defers, whatever their windows permit."""
        super()._balance_both()
        if self._serves_channels and (self._write_paused or not self._kex_complete):
            self._connection.writing_paused()
        elif self._serves_channels:
            self._connection.writing_resumed()

    def _recv_packet(self) -> bool:
        done = super()._recv_packet()
        if not self._auth_complete and not self._packet:  # consumed, even if its handling continues in a task
            self._login_packets -= 1
            if self._login_packets < 0:
                raise DisconnectError(DISC_PROTOCOL_ERROR, _TOO_MUCH)
        return done

    def spoke(self) -> bool:
        """Whether the client sent any message."""
        return self._login_packets < LOGIN_PACKETS

    async def _validate_openssh_certificate(self, username: str, cert: SSHOpenSSHCertificate) -> SSHKey | None:
        """Lets the connection decide; asyncssh would require a principal that equals the login."""
        return cert.key if await self._connection.validate_certificate(username, cert) else None

    async def validate_public_key(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        """Refuses signatures that asyncssh verifies but does not advertise: RSA with SHA-1."""
        if msg and (algorithm := algorithm_of(signature)) not in _SIGNATURES:
            self.send_auth_banner(_WEAK.format(_SHA1 if algorithm == "ssh-rsa" else "an unknown algorithm"))
            return False
        accepted: bool = await super().validate_public_key(username, key_data, msg, signature)
        return accepted

    async def reload_config(self) -> None:
        """Does nothing: there is no configuration file with rules per user."""

    def send_userauth_failure(self, partial_success: bool) -> None:
        """Counts tries, as sshd does. The first is `none`, by which clients ask for the methods."""
        self._failures += 1
        if self._failures > MAX_TRIES + 1:
            raise DisconnectError(DISC_NO_MORE_AUTH_METHODS_AVAILABLE, _TOO_MANY)
        super().send_userauth_failure(partial_success)

    async def send_userauth_success(self) -> None:
        """Called after a valid signature; the connection may still refuse."""
        reason = self._connection.reason_to_refuse()
        if reason is None and self._connection.must_wait():
            self._cancel_login_timer()
            reason = await self._connection.wait_for_session()
        if reason:
            self._refuse(reason)
        elif self._transport is not None:  # the client may have left while it waited
            await super().send_userauth_success()

    def _refuse(self, reason: str) -> None:
        """Ends an authenticated connection. OpenSSH and PuTTY show the disconnect reason; others show only banners."""
        if not self._client_version.startswith((b"SSH-2.0-OpenSSH", b"SSH-2.0-PuTTY")):
            self.send_auth_banner(f"{reason}\r\n")
        self.end(DISC_BY_APPLICATION, reason)


class Upstream(PipeEnd, SSHClientConnection):
    """The connection to a session's agent."""

    probe: TerminalProbe | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Dropped: these host keys are the agent's, and the client would store them for the gateway.
        self.not_relayed = _HOST_KEYS

    def _is_own(self, payload: bytes) -> bool:
        return payload.startswith(self.not_relayed) or (self.probe is not None and self.probe.takes_answer(payload))
