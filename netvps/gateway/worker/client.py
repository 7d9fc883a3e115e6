"""The gateway process's end of the private socket: requests to the control plane, and dials into sessions."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Self, cast

import structlog

from netvps.domain.names import SshLogin
from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginEffect
from netvps.domain.tunnel import ResumableTarget
from netvps.errors import Unavailable
from netvps.gateway.worker import web_messages as web
from netvps.gateway.worker import wire
from netvps.gateway.worker.failures import error_of
from netvps.gateway.worker.socket_stream import SocketStream
from netvps.services.access.logins import Grant, SessionRef
from netvps.services.access.ssh_tickets import Admitted
from netvps.services.http.visits import AdmittedRequest
from netvps.services.network.gateway_location import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from netvps.domain.access.audit import AuditEvent
    from netvps.domain.sleep.waking import LoginKind
    from netvps.domain.tunnel import DialTarget
    from netvps.gateway.worker.wire import Message, Welcome
    from netvps.timing import Step

log = structlog.get_logger()

ANSWER_SECONDS: Final = 10.0
DIAL_SECONDS: Final = 30.0
"""More than the control plane needs: 15 s until an agent connects, and 10 s for its answer."""
REPORT_EVERY: Final = 0.2
_MANY: Final = 500
"""Maximum number of sessions in one request."""


class ControlPlane(asyncio.Protocol):
    """The connection to the control plane, an async context manager. Raises Unavailable if it does not answer.

    Implements Authorizer, SessionDialer, PortDialer and Visitors.
    """

    def __init__(self, path: Path) -> None:
        self.lost = asyncio.Event()
        """Set when the control plane is gone or has closed the connection."""
        self._path = path
        self._decoder = wire.Decoder()
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self._listeners: defaultdict[type[Message], list[Callable[[str], None]]] = defaultdict(list)
        """By the notification that they are for."""
        self._transport: asyncio.Transport | None = None
        self._durations = bytearray()
        """Messages that are not sent yet."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_unix_connection(lambda: self, str(self._path))
        except OSError as error:
            raise Unavailable(f"the server does not answer at {self._path}: {error.strerror or error}") from error
        self._send(wire.Control(os.getpid()))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.shield(self._welcome)
        except TimeoutError:
            raise Unavailable(f"the server did not answer within {ANSWER_SECONDS:.0f} s") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def welcome(self) -> Welcome:
        """Keys and limits; available once connected."""
        return self._welcome.result()

    # Authorizer

    async def authorize(self, login: SshLogin, fingerprint: str) -> Grant:
        """The login that a key gets. Raises what the control plane raises."""
        number = next(self._ids)
        question = wire.Authorize(number, login.session, login.owner or "", login.unix_user, fingerprint)
        return _grant(await self._ask(question, wire.Granted))

    async def authorize_user(self, login: SshLogin, user_name: str) -> Grant:
        """The login that a user with a certificate gets. Raises what the control plane raises."""
        number = next(self._ids)
        question = wire.AuthorizeUser(number, login.session, login.owner or "", login.unix_user, user_name)
        return _grant(await self._ask(question, wire.Granted))

    async def redeem(self, ticket: str) -> Admitted:
        """What a ticket of `netvps ssh-proxy` is for. Raises what the control plane raises."""
        found = await self._ask(wire.Redeem(next(self._ids), ticket), wire.Redeemed)
        login = SshLogin(found.session, found.owner or None, found.unix_user)
        return Admitted(found.user, login, bytes.fromhex(found.attachment))

    async def certify(self, grant: Grant, public_key: str) -> str:
        """A user certificate for the grant."""
        of, number = grant.session, next(self._ids)
        question = wire.Certify(number, of.uid, of.name, of.owner, of.state, grant.unix_user, grant.user, public_key)
        return (await self._ask(question, wire.Certified)).certificate

    async def wake(self, session_uid: str, actor: str, kind: LoginKind) -> None:
        """Resumes or starts a session. Raises what the control plane raises."""
        await self._ask(wire.Wake(next(self._ids), session_uid, actor, kind), wire.Woken)

    async def look(self, session_uid: str) -> SessionRef:
        """The present state of a session. Raises what the control plane raises."""
        return _ref(await self._ask(wire.Look(next(self._ids), session_uid), wire.Looked))

    async def locate(self, session_uid: str) -> Route | None:
        """How to reach a session over the overlay; None if it does not lead there."""
        found = await self._ask(wire.Locate(next(self._ids), session_uid), wire.Located)
        return Route(found.source, found.address, found.epoch) if found.address else None

    def audit(self, event: AuditEvent) -> None:
        """Reports an event for the audit log."""
        sent = event.bounded()
        details = tuple(part for pair in sent.details for part in pair)
        self._send(wire.Audit(sent.actor, sent.origin, sent.action, sent.target, sent.outcome, details))

    # Terminal UIs

    async def mint_token(self, user: str) -> str:
        """The credential of a process that shows the terminal UI to a user. Raises what the control plane raises."""
        return (await self._ask(wire.MintToken(next(self._ids), user), wire.Minted)).token

    def revoke_token(self, token: str) -> None:
        """Ends a credential."""
        self._send(wire.RevokeToken(token))

    # SessionDialer

    async def open(self, session_uid: str, target: DialTarget, origin: str) -> DialledStream:
        """Opens a connection to a session's SSH server through its tunnel. Raises what Tunnels.open raises."""
        dial = wire.Dial(session_uid, origin)
        if isinstance(target, ResumableTarget):
            dial = wire.Dial(session_uid, origin, target.user, target.attachment.hex())
        return await self._stream(dial, "connect to the session")

    # SnapshotBrowser

    async def browse(self, session: str, user: str) -> DialledStream:
        """Opens a connection to an SFTP server that shows a session's snapshots. Raises what SnapshotFiles raises."""
        return await self._stream(wire.Browse(session, user), "open its snapshots")

    # PortDialer and Visitors

    async def open_port(self, session_uid: str, port: int, origin: str, *, counted: bool) -> DialledStream:
        """Opens a connection to a port of a session. Raises what Tunnels.open raises."""
        return await self._stream(web.DialPort(session_uid, port, origin, not counted), "connect to the session")

    async def visit(self, host: str, cookie: str, api_key: str) -> AdmittedRequest:
        """Whether an HTTP request may pass. Raises what the control plane raises."""
        found = await self._ask(web.Visit(next(self._ids), host, cookie, api_key), web.Visited)
        return AdmittedRequest(_ref(found), found.port, found.user)

    async def log_in(self, api_key: str) -> str:
        """The cookie of the host of logins. Raises what the control plane raises."""
        return await self._web_login("log_in", api_key)

    async def user_of(self, cookie: str) -> str:
        """The user of a cookie of the host of logins. Raises what the control plane raises."""
        return await self._web_login("user_of", cookie)

    async def code(self, cookie: str, host: str) -> str:
        """A code for one login at a host. Raises what the control plane raises."""
        return await self._web_login("code", cookie, host)

    async def enter(self, host: str, code: str) -> str:
        """The cookie of a host for a code. Raises what the control plane raises."""
        return await self._web_login("enter", code, host)

    async def enter_by_link(self, host: str, sealed: str) -> str:
        """The cookie of a host for the secret of a link. Raises what the control plane raises."""
        return await self._web_login("enter_by_link", sealed, host)

    async def _web_login(self, step: str, given: str, host: str = "") -> str:
        return (await self._ask(web.WebLogin(next(self._ids), step, given, host), web.WebLogged)).result

    async def _stream(self, first: wire.Dial | web.DialPort | wire.Browse, what: str) -> DialledStream:
        stream = DialledStream(first)
        connecting = asyncio.get_running_loop().create_unix_connection(lambda: stream, str(self._path))
        try:
            return await stream.connected(connecting, DIAL_SECONDS)
        except TimeoutError:
            raise Unavailable(f"the server did not {what} within {DIAL_SECONDS:.0f} s") from None
        except OSError as error:
            raise Unavailable(f"the server is restarting ({error.strerror or error}): try again in a moment") from error

    async def unwatched(self, session_uids: Iterable[str]) -> set[str]:
        """The sessions whose agents are not connected, for which no AgentConfigured is sent."""
        found: set[str] = set()
        uids = list(session_uids)
        for begin in range(0, len(uids), _MANY):
            question = wire.Unwatched(next(self._ids), tuple(uids[begin : begin + _MANY]))
            found.update((await self._ask(question, wire.Unwatched)).uids)
        return found

    def on_config(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a session's uid whenever its agent is sent a new config."""
        self._listeners[wire.AgentConfigured].append(listener)

    def on_access(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a user's name ('': everyone) whenever what they may do may have changed."""
        self._listeners[wire.AccessChanged].append(listener)

    async def is_served(self, host: str) -> bool:
        """Whether something is served at a host now. Raises what the control plane raises."""
        return (await self._ask(web.IsServed(next(self._ids), host), web.IsServed)).served

    def on_urls(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a session's uid ('': all) whenever who may open its ports may have changed."""
        self._listeners[web.UrlsChanged].append(listener)

    def on_session(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a session's uid ('': all) whenever it changed."""
        self._listeners[web.SessionChanged].append(listener)

    # Metrics

    def observe_duration(self, step: Step, which: str, seconds: float) -> None:
        """Reports a duration, with those of the next moments; a timing.Observer."""
        if not self._durations:
            asyncio.get_running_loop().call_later(REPORT_EVERY, self._send_durations)
        self._durations += wire.encode(wire.Duration(step, which, seconds))

    def _send_durations(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(bytes(self._durations))
        self._durations.clear()

    async def report(self, counts: Callable[[], tuple[int, int]]) -> None:
        """Reports the numbers of authenticated and unauthenticated connections when they change, until cancelled."""
        before = (0, 0)
        while True:
            if (now := counts()) != before:
                self._send(wire.Counts(*now))
                before = now
            await asyncio.sleep(REPORT_EVERY)

    async def report_http(self, count: Callable[[], int]) -> None:
        """Reports the number of open HTTP connections when it changes, until cancelled."""
        before = 0
        while True:
            if (now := count()) != before:
                self._send(web.HttpCount(now))
                before = now
            await asyncio.sleep(REPORT_EVERY)

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing

    def data_received(self, data: bytes) -> None:
        """Handles answers and notifications."""
        self._decoder.feed(data)
        try:
            while (message := self._decoder.next()) is not None:
                self._take(message)
        except wire.WireError as error:
            log.warning("invalid message from the server: closing the connection", error=error.message)
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fails all pending requests, because the control plane is gone."""
        self.lost.set()
        gone = Unavailable("the server is restarting: try again in a moment")
        for future in self._answers.values():
            if not future.done():
                future.set_exception(gone)
        if not self._welcome.done():
            self._welcome.set_exception(gone)
            self._welcome.exception()  # marks it as retrieved: the waiter uses a shield and may have timed out

    def _take(self, message: Message) -> None:
        match message:
            case wire.Welcome() if not self._welcome.done():
                self._welcome.set_result(message)
            case (
                wire.AgentConfigured(about)
                | wire.AccessChanged(about)
                | web.UrlsChanged(about)
                | web.SessionChanged(about)
            ):
                for listener in self._listeners[type(message)]:
                    listener(about)
            case _:
                future = self._answers.get(getattr(message, "id", 0))
                if future is not None and not future.done():
                    future.set_result(message)

    async def _ask(self, question: Message, kind: type[wire.M]) -> wire.M:
        if self.lost.is_set():
            raise Unavailable("the server is restarting: try again in a moment")
        number: int = getattr(question, "id", 0)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        try:
            self._send(question)
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await future
        except TimeoutError:
            raise Unavailable(f"the server did not answer within {ANSWER_SECONDS:.0f} s: try again") from None
        finally:
            del self._answers[number]
        if isinstance(answer, wire.Failed):
            raise error_of(answer)
        if not isinstance(answer, kind):
            raise Unavailable(f"the server answered with {type(answer).__name__}: report a bug")
        return answer

    def _send(self, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(wire.encode(message))


class DialledStream(SocketStream):
    """A connection that the control plane joins with the session's agent, or with SFTP; ready once it is joined."""

    way: Final = "tunnel"

    def __init__(self, dial: wire.Dial | web.DialPort | wire.Browse) -> None:
        super().__init__()
        self._dial = dial
        self._decoder = wire.Decoder()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the dial request."""
        super().connection_made(transport)
        if self._transport is not None:
            self._transport.write(wire.encode(self._dial))

    def data_received(self, data: bytes) -> None:
        """Handles the answer, then data of the session."""
        if self.ready.done():
            super().data_received(data)
            return
        self._decoder.feed(data)
        try:
            answer = self._decoder.next()
        except wire.WireError as error:
            self.ready.set_exception(error)
            return
        if isinstance(answer, wire.Opened):
            super().data_received(self._decoder.rest)
        elif isinstance(answer, wire.Failed):
            self.ready.set_exception(error_of(answer))
        elif answer is not None:
            self.ready.set_exception(wire.WireError(f"{type(answer).__name__} is no answer to a dial"))

    def other_way(self) -> bool:
        """False: there is no alternative to the tunnel."""
        return False


def _grant(found: wire.Granted) -> Grant:
    return Grant(_ref(found), found.unix_user, found.user)


def _ref(found: wire.Granted | wire.Looked | web.Visited) -> SessionRef:
    effect = LoginEffect(found.effect)
    return SessionRef(found.uid, found.name, found.owner, SessionState(found.state), effect, found.message)
