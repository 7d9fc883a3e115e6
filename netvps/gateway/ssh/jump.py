"""Connections into sessions on a login without a session: `ssh -J GATEWAY root@NAME`, `ssh -W`.

client ◄── channel "direct-tcpip" ──► Jump ◄── stream ──► the session's SSH server

The client logs in at the session's own SSH server, so the gateway passes bytes that it cannot read. A channel leads to
the SSH server of a session that the client may log in to, never to another port, and never to a host.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, Self

import structlog
from asyncssh import ChannelOpenError, SSHTCPSession
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED, OPEN_RESOURCE_SHORTAGE

from netvps.domain.checks import shown
from netvps.domain.names import SshLogin
from netvps.domain.sleep.waking import LoginKind
from netvps.domain.tunnel import SSH_PORT, SshTarget
from netvps.errors import InvalidInput, NetvpsError, NotFound, NotPermitted
from netvps.gateway.ssh.events import report
from netvps.gateway.ssh.readiness import reason_for_login
from netvps.services.access.terminal_ui import TERMINAL_UI

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncssh import SSHServerConnection, SSHTCPChannel

    from netvps.domain.access.audit import AuditEvent
    from netvps.gateway.ports import Stream
    from netvps.gateway.tunnel.dialer import Dialer
    from netvps.services.access.logins import Grant

log = structlog.get_logger()

CHANNELS: Final = 256
"""Maximum open channels of a connection, as at the session's own SSH server."""


class Login(Protocol):
    """The connection whose channels these are."""

    origin: str

    async def authorize(self, login: SshLogin) -> Grant:
        """What its key or certificate may do in a session. Raises NetvpsError."""

    async def wake(self, grant: Grant, say: Callable[[str], None], kind: LoginKind = ...) -> None:
        """Wakes a session if a login of that kind does, and waits until it takes logins. Raises NetvpsError."""


class Counts(Protocol):
    """The gateway as it counts channels into sessions."""

    def reason_to_refuse(self, grant: Grant) -> str | None:
        """Why one more channel to a session is not opened now; None if it is."""

    def count_channel(self, grant: Grant, change: int) -> None:
        """Counts a channel to a session like a connection to it."""

    @property
    def audit(self) -> Callable[[AuditEvent], None]:
        """Takes events for the audit log."""


class Jumps:
    """The channels of one connection that lead into sessions."""

    def __init__(self, login: Login, downstream: SSHServerConnection, dialer: Dialer, counts: Counts) -> None:
        self.login, self.dialer, self.counts = login, dialer, counts
        self.held = False
        """Whether the client's connection takes no more data now."""
        self._downstream = downstream
        self._open: set[Jump] = set()

    @property
    def sessions(self) -> set[str]:
        """Uids of the sessions that channels lead to."""
        return {jump.grant.session.uid for jump in self._open if jump.grant}

    def open(self, host: str, port: int) -> tuple[SSHTCPChannel[bytes], Awaitable[SSHTCPSession[bytes]]]:
        """Makes a channel that a client asks for. Raises ChannelOpenError with the reason, as what is awaited does."""
        try:
            name = SshLogin.of_host(host)
        except InvalidInput:
            raise _refusal(f"{shown(host)} is no session: the gateway leads to NAME or NAME.OWNER only") from None
        if port != SSH_PORT:
            raise _refusal(f"the gateway leads to port {SSH_PORT} of a session only: forward port {port} with -L there")
        if len(self._open) >= CHANNELS:
            raise ChannelOpenError(OPEN_RESOURCE_SHORTAGE, f"{CHANNELS} channels are open already: close some")
        channel = self._downstream.create_tcp_channel()
        jump = Jump(self, channel, name)
        self._open.add(jump)
        return channel, jump.connect()

    def hold(self, held: bool) -> None:
        """Lets sessions wait while the client's connection takes no more data."""
        self.held = held
        for jump in self._open:
            jump.pace()

    async def review(self) -> None:
        """Ends channels to sessions that the client may not log in to any more."""
        for jump in list(self._open):
            await jump.review()

    def end(self) -> None:
        """Ends all of them, when the client is gone."""
        for jump in list(self._open):
            jump.abort()

    def forget(self, jump: Jump) -> None:
        """Called by a channel at its end."""
        self._open.discard(jump)


class Jump(SSHTCPSession[bytes]):
    """One channel, and the stream that it is joined with."""

    def __init__(self, jumps: Jumps, channel: SSHTCPChannel[bytes], name: SshLogin) -> None:
        self.grant: Grant | None = None
        """Set once the client may log in to the session."""
        self._jumps, self._channel, self._name = jumps, channel, name
        self._stream: Stream | None = None
        self._transport: asyncio.Transport | None = None
        self._began = time.monotonic()
        self._full = False
        """Whether the client's window is used up."""
        self._ended_sides: set[str] = set()
        self._over = False
        self._received = self._sent = 0

    async def connect(self) -> Self:
        """Dials the session. Raises ChannelOpenError."""
        done = False
        try:
            self._stream = await self._dial()
            done = not self._over
        finally:
            if not done:
                self._forget()
        if not done:  # the client left meanwhile
            self._stream.abort()
            raise ChannelOpenError(OPEN_CONNECT_FAILED, "the client left")
        return self

    async def _dial(self) -> Stream:
        login = self._jumps.login
        try:
            grant = await self._authorize()
            if reason := reason_for_login(grant, asked=False) or self._jumps.counts.reason_to_refuse(grant):
                raise ChannelOpenError(OPEN_CONNECT_FAILED, reason)
            self.grant = grant
            self._jumps.counts.count_channel(grant, 1)
            await login.wake(grant, lambda _: None, LoginKind.PLAIN)
            return await self._jumps.dialer.open(grant.session.uid, SshTarget(), f"{grant.user}@{login.origin}")
        except (NotFound, NotPermitted):
            raise _refusal(f"session {self._name.target} is not open to you: `netvps ls` lists yours") from None
        except NetvpsError as error:
            reason = f"session {self._name.target} cannot be reached: {error}"
            raise ChannelOpenError(OPEN_CONNECT_FAILED, reason) from None

    async def _authorize(self) -> Grant:
        grant = await self._jumps.login.authorize(self._name)
        if grant.session.uid == TERMINAL_UI:
            raise NotFound(f"no session {self._name.target}")
        return grant

    async def review(self) -> None:
        """Ends the channel if the client may not log in to the session any more."""
        if self.grant is None:
            return
        try:
            revoked = (await self._authorize()).session.uid != self.grant.session.uid
        except (NotFound, NotPermitted):
            revoked = True
        except NetvpsError as error:
            log.warning("cannot check access again", origin=self._jumps.login.origin, error=str(error))
            return
        if revoked:
            self._log("ssh access ended")
            self.abort()

    def abort(self) -> None:
        """Ends both sides immediately."""
        self._over = True
        if self._stream:
            self._stream.abort()
        with suppress(OSError):
            self._channel.abort()

    def pace(self) -> None:
        """Pauses the session's side while the client takes no data, and resumes it."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._full or self._jumps.held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Called by asyncssh, for the client

    def session_started(self) -> None:
        """Starts the stream: the channel is open."""
        assert self._stream is not None and self.grant is not None  # noqa: S101, PT018 — it is connected
        self._log("ssh login")
        try:
            self._stream.start(_SessionSide(self))
        except OSError:
            self._channel.abort()
        self.pace()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Passes data of the client on."""
        self._received += len(data)
        if self._transport:
            self._transport.write(data)

    def eof_received(self) -> bool:
        """Passes the end of the client's data on; the session's side may continue."""
        if self._transport:
            self._transport.write_eof()
        self._side_ended("client")
        return True

    def pause_writing(self) -> None:
        """The client's window is used up."""
        self._full = True
        self.pace()

    def resume_writing(self) -> None:
        """The client takes data again."""
        self._full = False
        self.pace()

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed: ends the session's side, after its pending data if it was closed regularly."""
        self._over = True
        if self._transport and exc is None:
            self._transport.close()
        elif self._stream:
            self._stream.abort()
        self._log(
            "ssh end",
            reason=str(exc) if exc else "the channel was closed",
            received_bytes=self._received,
            sent_bytes=self._sent,
            seconds=round(time.monotonic() - self._began, 1),
        )
        self._forget()

    # Called by the session's side

    def connected(self, transport: asyncio.Transport) -> None:
        """The stream has a transport."""
        self._transport = transport

    def answered(self, data: bytes) -> None:
        """Passes data of the session on."""
        self._sent += len(data)
        with suppress(OSError):
            self._channel.write(data)

    def answer_ended(self) -> None:
        """Passes the end of the session's data on."""
        with suppress(OSError):
            self._channel.write_eof()
        self._side_ended("session")

    def hold_client(self, held: bool) -> None:
        """The session does not read, or reads again: the client waits once its window is used up."""
        if self._over:
            return
        if held:
            self._channel.pause_reading()
        else:
            self._channel.resume_reading()

    def session_lost(self, exc: Exception | None) -> None:
        """The stream is closed: closes the channel after pending data, or at once if the stream broke."""
        with suppress(OSError):
            if exc is None:
                self._channel.close()
            else:
                self._channel.abort()

    def _log(self, event: str, **more: object) -> None:
        if self.grant:
            report(self._jumps.counts.audit, event, self.grant, self._jumps.login.origin, way="jump", **more)

    def _side_ended(self, side: str) -> None:
        self._ended_sides.add(side)
        if len(self._ended_sides) > 1:
            with suppress(OSError):
                self._channel.close()

    def _forget(self) -> None:
        if self.grant:
            self._jumps.counts.count_channel(self.grant, -1)
            self.grant = None
        self._jumps.forget(self)


class _SessionSide(asyncio.Protocol):
    """The protocol of a stream into a session."""

    def __init__(self, jump: Jump) -> None:
        self._jump = jump

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._jump.connected(transport)  # type: ignore[arg-type] # a Transport, which uvloop's do not inherit

    def data_received(self, data: bytes) -> None:
        self._jump.answered(data)

    def eof_received(self) -> bool:
        self._jump.answer_ended()
        return True

    def pause_writing(self) -> None:
        self._jump.hold_client(True)

    def resume_writing(self) -> None:
        self._jump.hold_client(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._jump.session_lost(exc)


def _refusal(reason: str) -> ChannelOpenError:
    return ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, reason)
