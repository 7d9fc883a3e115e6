"""The control plane's end of the private socket: serves gateway processes, and joins their dials with agents.

Only processes of this account are accepted: the folder has mode 0700, and the kernel reports each peer's uid.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Final, Self, cast

import structlog

from netvps.domain.access.audit import AuditEvent
from netvps.domain.names import SshLogin
from netvps.domain.pieces import MAX_PIECE
from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginKind
from netvps.domain.tunnel import PortTarget, ResumableTarget, SshTarget
from netvps.errors import ConfigError, InternalError, NetvpsError, Unavailable
from netvps.gateway.tunnel.front import DirectConnection
from netvps.gateway.worker import web_messages as web
from netvps.gateway.worker import wire
from netvps.gateway.worker.failures import failure
from netvps.gateway.worker.joint import join
from netvps.gateway.worker.private_folder import make_private
from netvps.services.access.logins import Grant, SessionRef
from netvps.services.access.terminal_ui import UiTokens
from netvps.tasks import Tasks
from netvps.timing import STEPS, observe_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from netvps.domain.tunnel import DialTarget
    from netvps.gateway.ports import Authorizer, Browse, Locate
    from netvps.gateway.tunnel.tunnels import Tunnels
    from netvps.gateway.worker.wire import Message, Welcome
    from netvps.services.access.ssh_tickets import Admitted, SshTickets

log = structlog.get_logger()

FIRST_MESSAGE: Final = 5.0
"""Seconds that a connection has for its first message."""
QUESTIONS: Final = 256
"""Maximum concurrent requests of one process; reading pauses at this number."""
UNSENT: Final = 4 << 20
"""Maximum unsent bytes of a connection; beyond it, the connection is closed."""
_BACKLOG: Final = 1024
_UCRED: Final = struct.Struct("=iII")  # pid, uid, gid: man 7 unix


class WorkerSocket:
    """Listens on the private socket. An async context manager; its end closes all connections."""

    def __init__(
        self,
        path: Path,
        authorizer: Authorizer,
        tunnels: Tunnels,
        locate: Locate | None,
        welcome: Welcome,
        *,
        ui_tokens: UiTokens | None = None,
        tickets: SshTickets,
        audit: Callable[[AuditEvent], None] = lambda _event: None,
    ) -> None:
        """`ui_tokens` None: no terminal UIs. `audit` takes what gateways report for the audit log."""
        self.audit = audit
        self._path = path
        self._authorizer, self._locate = authorizer, locate
        self.ui_tokens = ui_tokens or UiTokens()
        self.tickets = tickets
        self.web: web.WebAnswers | None = None
        """Decides about HTTP requests; None: there are none."""
        self.browse: Browse | None = None
        """Shows snapshots; None: not yet, or never."""
        self.tunnels, self.welcome = tunnels, welcome
        self._connections: set[_Connection] = set()
        self.tasks = Tasks()
        tunnels.on_config(self._configured)
        tunnels.on_access(self._access_changed)

    @property
    def connections(self) -> int:
        """Number of authenticated SSH connections."""
        return sum(each.counts.connections for each in self._connections)

    @property
    def unauthenticated(self) -> int:
        """Number of unauthenticated SSH connections."""
        return sum(each.counts.unauthenticated for each in self._connections)

    @property
    def http_connections(self) -> int:
        """Number of open HTTP connections."""
        return sum(each.http.connections for each in self._connections)

    async def __aenter__(self) -> Self:
        """Listens. Raises ConfigError if the socket cannot be made."""
        try:
            await asyncio.to_thread(make_private, self._path)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(lambda: _Connection(self), self._path, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"cannot listen at {self._path}: {error.strerror or error}; choose another folder with --runtime-dir"
            ) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.dismiss()
        await self.tasks.__aexit__()
        self._path.unlink(missing_ok=True)

    def dismiss(self) -> None:
        """Closes all connections; gateway processes exit when they see that."""
        for connection in list(self._connections):
            connection.abort()

    def joined(self, connection: _Connection) -> None:
        """Adds a connection."""
        self._connections.add(connection)

    def left(self, connection: _Connection) -> None:
        """Removes a connection."""
        self._connections.discard(connection)

    async def answer(self, question: Message) -> Message:
        """The answer to a request; errors are answers, too."""
        number = getattr(question, "id", 0)
        try:
            if isinstance(question, wire.MintToken):
                return wire.Minted(number, self.ui_tokens.mint(question.user))
            if isinstance(question, wire.Redeem):
                return _redeemed(number, self.tickets.redeem(question.ticket))
            return await self._answer(question)
        except NetvpsError as error:
            return failure(number, error)
        except Exception:
            log.exception("a request of the gateway failed", question=type(question).__name__)
            return failure(number, InternalError("a bug of netvps; see the server's log"))

    async def _answer(self, question: Message) -> Message:  # noqa: PLR0911 — one answer per request
        match question:
            case wire.Authorize(number, session, owner, unix_user, fingerprint):
                return _granted(
                    number, await self._authorizer.authorize(SshLogin(session, owner or None, unix_user), fingerprint)
                )
            case wire.AuthorizeUser(number, session, owner, unix_user, user):
                return _granted(
                    number, await self._authorizer.authorize_user(SshLogin(session, owner or None, unix_user), user)
                )
            case wire.Certify(number, uid, name, owner, state, unix_user, user, public_key):
                ref = SessionRef(uid, name, owner, SessionState(state))
                return wire.Certified(number, await self._authorizer.certify(Grant(ref, unix_user, user), public_key))
            case wire.Locate(number, uid):
                way = await self._locate(uid) if self._locate else None
                return wire.Located(number, *(way or ("", "", 0)))
            case wire.Wake(number, uid, actor, kind):
                await self._authorizer.wake(uid, actor, LoginKind(kind))
                return wire.Woken(number)
            case wire.Look(number, uid):
                now = await self._authorizer.look(uid)
                return wire.Looked(number, now.uid, now.name, now.owner, now.state, now.effect, now.message)
            case web.Visit() | web.WebLogin() | web.IsServed() if self.web:
                return await self.web.answer(question)
            case wire.Unwatched(number, uids):
                return wire.Unwatched(number, tuple(await self.tunnels.unwatched(uids)))
        raise wire.WireError(f"{type(question).__name__} is no request")

    def _configured(self, session_uid: str) -> None:
        self.notify(wire.AgentConfigured(session_uid))

    def _access_changed(self, user: str) -> None:
        self.notify(wire.AccessChanged(user))

    def notify(self, message: Message) -> None:
        """Sends a notification to all gateway processes."""
        for connection in list(self._connections):
            if connection.is_control:
                connection.send(message)


class _Connection(asyncio.Protocol):
    """One connection: a control connection, or one that is joined with a session or with its snapshots."""

    def __init__(self, owner: WorkerSocket) -> None:
        self.counts, self.http = wire.Counts(0, 0), web.HttpCount(0)
        self.is_control = False
        self.pid = 0
        """As the process reports it; not verified."""
        self._owner = owner
        self._decoder = wire.Decoder()
        self._questions = 0
        self._tokens: set[str] = set()
        """Credentials of terminal UIs, which end with the connection."""
        self._dialling: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepts processes of this account only."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing
        self._owner.joined(self)
        peer = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _, uid, _ = _UCRED.unpack(peer)
        if uid != os.geteuid():
            log.warning("refused a process of another account at the gateway's socket", uid=uid)
            self.abort()
        self._impatience = asyncio.get_running_loop().call_later(FIRST_MESSAGE, self.abort)

    def data_received(self, data: bytes) -> None:
        """Decodes messages, which may arrive in parts."""
        if self._dialling is not None:
            self.abort()  # a dial sends nothing before the answer
            return
        self._decoder.feed(data)
        self._handle()

    def eof_received(self) -> None:
        """Closes the connection (by returning None), which cancels its dial."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Removes the connection and cancels its dial."""
        self._calm()
        self._owner.left(self)
        for token in self._tokens:
            self._owner.ui_tokens.revoke(token)
        if self._dialling is not None:
            self._dialling.cancel()

    def send(self, message: Message) -> None:
        """Sends a message; closes the connection if the process does not read."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(wire.encode(message))
        if self._transport.get_write_buffer_size() > UNSENT:
            log.error("a gateway process does not read: closing its connection")
            self.abort()

    def abort(self) -> None:
        """Ends it immediately."""
        if self._transport is not None:
            self._transport.abort()

    def _calm(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _handle(self) -> None:
        try:
            while self._questions < QUESTIONS and (message := self._decoder.next()) is not None:
                self._take(message)
        except wire.WireError as error:
            log.warning("invalid message at the gateway's socket: closing the connection", error=error.message)
            self.abort()

    def _take(self, message: Message) -> None:
        if not self.is_control:
            self._calm()
        match message:
            case wire.Control(pid) if not self.is_control:
                self.is_control, self.pid = True, pid
                self.send(self._owner.welcome)
            case wire.Dial() | web.DialPort() if not self.is_control and not self._decoder.rest:
                self._dialling = self._owner.tasks.start(self._dial(message), name=f"dial to {message.uid}")
            case wire.Browse() if not self.is_control and not self._decoder.rest:
                self._dialling = self._owner.tasks.start(self._browse(message), name=f"snapshots of {message.session}")
            case wire.Counts() | web.HttpCount() if self.is_control:
                self._count(message)
            case wire.RevokeToken(token) if self.is_control:
                self._owner.ui_tokens.revoke(token)
                self._tokens.discard(token)
            case wire.Audit(actor, origin, action, target, outcome, details) if self.is_control:
                pairs = tuple(zip(details[::2], details[1::2], strict=False))
                self._owner.audit(AuditEvent(actor, origin, action, target, outcome, pairs))
            case wire.Duration(step, which, seconds) if self.is_control and step in STEPS:
                observe_duration(STEPS[step], which, seconds)
            case _ if self.is_control and isinstance(message, wire.QUESTIONS):
                self._ask(message)
            case _:
                raise wire.WireError(f"{type(message).__name__} is not expected here")

    def _count(self, message: wire.Counts | web.HttpCount) -> None:
        if isinstance(message, wire.Counts):
            self.counts = message
        else:
            self.http = message

    def _ask(self, question: Message) -> None:
        self._questions += 1
        if self._questions >= QUESTIONS and self._transport is not None:
            self._transport.pause_reading()
        self._owner.tasks.start(self._answer(question), name=f"answer to {type(question).__name__}")

    async def _answer(self, question: Message) -> None:
        try:
            answer = await self._owner.answer(question)
            if isinstance(answer, wire.Minted):
                self._tokens.add(answer.token)
            self.send(answer)
        finally:
            self._questions -= 1
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
                self._handle()

    async def _dial(self, dial: wire.Dial | web.DialPort) -> None:
        """Opens a connection into the session and joins the two. Cancelled when the client disconnects."""
        try:
            if isinstance(dial, web.DialPort):
                target: DialTarget = PortTarget(dial.port, counted=not dial.probe)
            elif dial.attachment:
                target = ResumableTarget(dial.user, bytes.fromhex(dial.attachment))
            else:
                target = SshTarget()
            stream = await self._owner.tunnels.open_direct(dial.uid, target, dial.origin)
        except NetvpsError as error:
            self.send(failure(0, error))
            if self._transport is not None:
                self._transport.close()
            return
        transport = self._transport
        if transport is None or transport.is_closing():
            stream.abort()
            return
        if isinstance(stream, DirectConnection):
            self._hand_over(transport, stream)
            return
        self.send(wire.Opened())
        self._owner.left(self)
        join(transport, stream)

    def _hand_over(self, transport: asyncio.Transport, connection: DirectConnection) -> None:
        """Hands the socket to the process that has the agent's connection, and closes its own descriptor."""
        transport.pause_reading()  # what arrives from now on is for the session
        try:
            connection.join(transport.get_extra_info("socket").fileno(), wire.encode(wire.Opened()))
        except OSError as error:
            log.warning("a connection to a session was not joined", error=str(error))
            connection.abort()
            self.send(failure(0, Unavailable("the connection to the session broke: try again")))
            transport.close()
            return
        transport.abort()

    async def _browse(self, browse: wire.Browse) -> None:
        """Serves SFTP until either end leaves. Cancelled when the client disconnects before it begins."""
        transport, reader = self._transport, asyncio.StreamReader(limit=MAX_PIECE)
        if transport is None or self._owner.browse is None:
            return self.abort()
        opened = False
        try:
            async with self._owner.browse(browse.user, browse.session, _pieces(reader)) as answers:
                self.send(wire.Opened())
                self._owner.left(self)
                opened, protocol = True, asyncio.StreamReaderProtocol(reader)
                transport.set_protocol(protocol)
                protocol.connection_made(transport)
                writer = asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())
                async for answer in answers:
                    writer.write(answer)
                    await writer.drain()
        except NetvpsError as error:
            log.info("snapshots not shown", session=browse.session, error=error.message)
            if not opened:
                self.send(failure(0, error))
        except ConnectionError:
            log.debug("the reader of snapshots left", session=browse.session)
        finally:
            transport.close()
        return None


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while data := await reader.read(MAX_PIECE):
        yield data


def _redeemed(number: int, admitted: Admitted) -> wire.Redeemed:
    login = admitted.login
    of = (login.session, login.owner or "", login.unix_user)
    return wire.Redeemed(number, *of, admitted.user, admitted.attachment.hex())


def _granted(number: int, grant: Grant) -> wire.Granted:
    found = grant.session
    of, to = (found.uid, found.name, found.owner, found.state), (grant.unix_user, grant.user)
    return wire.Granted(number, *of, *to, found.effect, found.message)
