"""A connection of `netvps ssh-proxy`: a ticket of the API in place of a login, then bytes that the gateway cannot read.

The SSH client speaks to the session's own SSH server, as with a jump (gateway/ssh/jump.py). The session's agent keeps
the connection when this one breaks, and the client carries it on with the next ticket.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.access.admission import Outcome
from netvps.domain.proxy import GREETING, MAX_LINE, Word, line
from netvps.domain.sleep.waking import LoginKind
from netvps.domain.tunnel import ResumableTarget
from netvps.errors import NetvpsError, NotFound, NotPermitted, TimedOut, Unavailable, WrongState
from netvps.gateway.ssh.events import report
from netvps.gateway.ssh.readiness import reason_for_login
from netvps.gateway.tunnel.agents import DIAL_REFUSED
from netvps.gateway.worker.joint import join
from netvps.gateway.worker.socket_stream import SocketStream
from netvps.services.access.ssh_tickets import TICKET_UNKNOWN
from netvps.services.access.terminal_ui import TERMINAL_UI

if TYPE_CHECKING:
    from netvps.domain.access.admission import Ticket
    from netvps.gateway.ports import Registry, Stream, Tickets
    from netvps.gateway.relay.carried import Carried
    from netvps.gateway.ssh.connection import Backend
    from netvps.services.access.logins import Grant
    from netvps.services.access.ssh_tickets import Admitted

log = structlog.get_logger()

FIRST_LINE: Final = 10.0
"""Seconds for the ticket."""
_LINGER: Final = 2.0
"""Seconds for a client to read why it was refused."""


class ProxyConnection(asyncio.Protocol):
    """One of them, until its bytes are passed on elsewhere."""

    user_name = fingerprint = ""

    def __init__(
        self, registry: Registry, backend: Backend, tickets: Tickets, ticket: Ticket, client: tuple[str, int]
    ) -> None:
        """`ticket` identifies it to the listener; `client` is an IP address and a port."""
        self.ticket = ticket
        self.address, self.origin = client[0], f"{client[0]}:{client[1]}"
        self._registry, self._backend, self._tickets = registry, backend, tickets
        self._grant: Grant | None = None
        self._admitted: Admitted | None = None
        self._transport: asyncio.Transport | None = None
        self._first = b""
        self._got_line = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._carried: Carried | _Joined | None = None
        self._refusal = ""
        self._end_reason = ""
        self._began = time.monotonic()

    @property
    def grant(self) -> Grant:
        """What the client may do. Raises RuntimeError before."""
        if self._grant is None:
            raise RuntimeError("a connection has no grant")
        return self._grant

    @property
    def sessions(self) -> set[str]:
        """Uid of the session that it leads to."""
        return {self._grant.session.uid} if self._grant else set()

    def take_over(self, transport: asyncio.Transport, first: bytes) -> None:
        """Serves a connection that was accepted for an SSH client; `first` is what it received."""
        self._transport = transport
        transport.set_protocol(self)
        self._serving = self._backend.tasks.start(self._serve(), name=f"ssh-proxy from {self.origin}")
        self.data_received(first)

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        """Reads the ticket. Nothing follows it before the answer."""
        self._first += data
        if len(self._first) > MAX_LINE or b"\n" in self._first[:-1]:
            self._refusal = self._refusal or "it does not wait for the answer"
            self.abort()
        elif self._first.endswith(b"\n"):
            self._got_line.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client left before the session's agent had the connection."""
        if self._serving is not None:
            self._end_reason = self._end_reason or "the client left"
            self._serving.cancel()

    # Its life

    async def _serve(self) -> None:
        stream: Stream | None = None
        try:
            async with asyncio.timeout(FIRST_LINE):
                await self._got_line.wait()
            stream = await self._dial()
            await self._carry(stream)
        except TimeoutError:
            self._refusal = "no ticket"
        except NetvpsError as error:
            await self._refuse(Word.LATER if _is_temporary(error) else Word.REFUSED, error.message)
        finally:
            if stream is not None:
                stream.abort()
            self.abort()
            self._report_end()

    async def _dial(self) -> Stream:
        """Admits the client, wakes the session, and dials it. Raises NetvpsError."""
        ticket = self._first.removeprefix(GREETING).strip()
        self._admitted = await self._tickets.redeem(ticket.decode("ascii", errors="replace"))
        grant = await self._authorize(self._admitted)
        if reason := reason_for_login(grant, asked=False):
            raise WrongState(reason)
        if reason := self._registry.reason_to_refuse(grant):
            raise Unavailable(reason)
        self._grant = grant
        self._registry.logged_in(self)
        self._log("ssh login")
        await self._backend.wakes.ready(grant, LoginKind.PLAIN, lambda text: self._say(Word.WAIT, text))
        target = ResumableTarget(self._admitted.user, self._admitted.attachment)
        return await self._backend.dialer.open(grant.session.uid, target, f"{grant.user}@{self.origin}")

    async def _authorize(self, admitted: Admitted) -> Grant:
        grant = await self._backend.authorizer.authorize_user(admitted.login, admitted.user)
        if grant.session.uid == TERMINAL_UI:
            raise NotFound("the session is gone: `netvps ls` lists yours")
        return grant

    async def _carry(self, stream: Stream) -> None:
        """Passes bytes on until either side leaves. Raises OSError."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._say(Word.OPEN)
        if isinstance(stream, SocketStream) and self._backend.relay is not None:
            agent, said = stream.detach()
            transport.pause_reading()
            transport.write(said)
            if carried := await self._backend.relay.carry(transport, agent):
                self._transport, self._carried = None, carried
                await carried.closed.wait()
                return
            transport.resume_reading()
        self._carried = joined = _Joined(transport, stream)
        await joined.closed.wait()

    async def review(self) -> None:
        """Ends it if the user may not log in to the session any more."""
        if self._admitted is None or self._grant is None:
            return
        try:
            revoked = (await self._authorize(self._admitted)).session.uid != self._grant.session.uid
        except (NotFound, NotPermitted):
            revoked = True
        except NetvpsError as error:
            log.warning("cannot check access again", origin=self.origin, error=str(error))
            return
        if revoked:
            self.end("access was revoked")

    def end(self, reason: str) -> None:
        """Ends it; the client asks for another ticket, and learns why there is none."""
        self._end_reason = self._end_reason or reason
        self.abort()

    def abort(self) -> None:
        """Closes it immediately. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        if self._carried is not None:
            self._carried.abort()

    def _say(self, word: Word, text: str = "") -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line(word, text))

    async def _refuse(self, word: Word, reason: str) -> None:
        """Tells the client, and gives it time to read that."""
        self._refusal = self._end_reason = reason
        self._say(word, reason)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()
            await asyncio.sleep(_LINGER)

    def _report_end(self) -> None:
        if self._grant is None:
            known = self._admitted is not None
            self._registry.refused(self, Outcome.LOGGED_IN if known else Outcome.FAILED, self._refusal)
        else:
            self._log(
                "ssh end",
                reason=self._end_reason or "the client or the session left",
                received_bytes=self._carried.received if self._carried else 0,
                sent_bytes=self._carried.sent if self._carried else 0,
                seconds=round(time.monotonic() - self._began, 1),
            )
        self._registry.ended(self)

    def _log(self, event: str, **more: object) -> None:
        report(self._registry.audit, event, self.grant, self.origin, way="proxy", **more)


def _is_temporary(error: NetvpsError) -> bool:
    """Whether another ticket may lead to the session a moment later: the server restarted, or is busy."""
    return error.reason == TICKET_UNKNOWN or (
        isinstance(error, Unavailable | TimedOut) and error.reason != DIAL_REFUSED
    )


class _Joined:
    """A client and a stream whose bytes pass through this process."""

    def __init__(self, transport: asyncio.Transport, stream: Stream) -> None:
        self._client, self._session = join(transport, stream, half_closes=False)
        self.closed = self._client.closed

    @property
    def received(self) -> int:
        """Bytes from the client."""
        return self._client.passed

    @property
    def sent(self) -> int:
        """Bytes from the session."""
        return self._session.passed

    def abort(self) -> None:
        """Ends both. Idempotent."""
        for side in (self._client, self._session):
            if side.transport is not None:
                side.transport.abort()
