"""Accepts SSH connections; each is served, queued or refused according to the limits of its source address.

accepted ──► refused: one line of text, closed
    ├──────► queued: nothing is sent, and little read, for at most WAIT_SECONDS
    └──────► served: becomes a Downstream, until it logs in or ends

A connection from a load balancer is decided about when its header named the client.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import random
import socket
import time
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import structlog

from netvps.domain.access.admission import Admission, Outcome, Ticket, source_of
from netvps.domain.access.audit import REFUSALS, AuditEvent
from netvps.domain.access.refusal_log import INTERVAL, RefusalLog
from netvps.errors import ConfigError
from netvps.gateway.ssh.proxy_header import Balancers, HeaderError, parse_header

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.access.admission import Decision
    from netvps.gateway.ssh.pipe import Downstream

log = structlog.get_logger()

WAIT_SECONDS: Final = 20.0
"""Seconds that a connection may stay queued; most clients give up later than this."""
HEADER_SECONDS: Final = 5.0
"""Seconds that a load balancer may take for its header, which it sends first."""
BACKLOG: Final = 512


_ADVICE: Final = "turn PROXY protocol v2 on at that load balancer, or take it out of the setting ssh_balancers"

Serve: TypeAlias = "Callable[[Ticket, tuple[str, int]], Downstream]"
"""Makes the protocol of a connection, from its ticket and the client's IP address and port."""


class Listener:
    """Calls `serve` for each connection that it serves. Run `log_summaries` as a task."""

    def __init__(
        self,
        serve: Serve,
        admission: Admission | None = None,
        balancers: Balancers | None = None,
        audit: Callable[[AuditEvent], None] = lambda _event: None,
    ) -> None:
        """`serve` makes the protocol of a connection, to be settled with its ticket; `audit` takes refusals."""
        self._audit = audit
        self._serve = serve
        self._admission = admission or Admission()
        self.balancers = balancers or Balancers()
        self._refusals = RefusalLog()
        self._holders: dict[Ticket, _Arrival] = {}
        self._server: asyncio.Server | None = None
        self._closed = False

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None  # noqa: S101 — it listens
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def waiting(self) -> int:
        """Number of queued connections."""
        return self._admission.waiting

    async def listen(self, sock: socket.socket) -> None:
        """Accepts on a listening socket, and closes it at the end."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=sock, backlog=BACKLOG)

    def close(self) -> None:
        """Stops accepting, and refuses queued connections. Idempotent."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        for arrival in [each for each in self._holders.values() if each.served is None]:
            arrival.refuse("the gateway is restarting")

    def settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """Records that a connection logged in or ended, which may admit queued ones."""
        self._holders.pop(ticket, None)
        self._follow(self._admission.leave(ticket, outcome, time.monotonic()))

    def note_refusal(self, address: str, reason: str, **more: object) -> None:
        """Logs a refusal, or counts it if others of this source were logged."""
        if self._refusals.note(source_of(address)):
            log.info("ssh refused", address=address, reason=reason, **more)
            details = tuple((name, str(value)) for name, value in more.items() if name != "origin")
            self._audit(AuditEvent("", str(more.get("origin", address)), "ssh.refused", "", reason, details))

    async def log_summaries(self) -> None:
        """Logs the counted refusals once per interval, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            for line in self._refusals.summary():
                where = {"address": line.source} if line.source else {"sources": line.sources}
                log.info("ssh refused more", **where, count=line.count, seconds=INTERVAL)
                details = (("count", str(line.count)), ("sources", str(line.sources)))
                self._audit(AuditEvent("", line.source or "several", REFUSALS, "", "REFUSED", details))

    def _protocol(self) -> asyncio.Protocol:
        return _Arrival(self)

    # Called by arrivals

    def arrive(self, arrival: _Arrival) -> None:
        """Decides about a connection that was just accepted."""
        if self._closed:
            arrival.refuse("the gateway is restarting: connect again in a moment")
            return
        chance = random.random()  # noqa: S311 — no secret
        decision = self._admission.arrive(arrival.address, time.monotonic(), chance)
        if decision.ticket is None:
            self.note_refusal(arrival.address, decision.reason)
            arrival.refuse(decision.reason)
        else:
            self._holders[decision.ticket] = arrival
            arrival.ticket = decision.ticket
            if decision.ticket.served:
                arrival.serve(self._serve)
        self._follow(decision)

    def _follow(self, decision: Decision) -> None:
        for ticket in decision.dropped:
            if (arrival := self._holders.pop(ticket, None)) is not None:
                self.note_refusal(arrival.address, decision.reason)
                arrival.refuse(decision.reason)
        for ticket in decision.admitted:
            if (arrival := self._holders.get(ticket)) is not None:
                arrival.serve(self._serve)


class _Arrival(asyncio.Protocol):
    """A connection until it is served."""

    def __init__(self, listener: Listener) -> None:
        self.client = ("unknown", 0)
        """IP address and port."""
        self.served: Downstream | None = None
        self.ticket: Ticket | None = None
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._said = b""
        self._awaits_header = False
        self._gives_up: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks the listener to decide about the connection."""
        self._transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing
        if peer := transport.get_extra_info("peername"):
            self.client = (str(peer[0]), int(peer[1]))
        if self.address in self._listener.balancers:
            self._awaits_header = True
            late = HeaderError(f"no PROXY header within {HEADER_SECONDS:g} s")
            self._gives_up = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._refuse_header, late)
        else:
            self._arrive()

    @property
    def address(self) -> str:
        """The client's IP address."""
        return self.client[0]

    def _arrive(self) -> None:
        self._listener.arrive(self)
        if self.served is None and self._transport is not None and not self._transport.is_closing():
            self._gives_up = asyncio.get_running_loop().call_later(WAIT_SECONDS, self._give_up)

    def serve(self, serve: Serve) -> None:
        """Hands the connection over to the protocol that `serve` makes for it."""
        if self._gives_up is not None:
            self._gives_up.cancel()
        assert self._transport is not None and self.ticket is not None  # noqa: S101, PT018 — it arrived
        if self._transport.is_closing():
            self._listener.settle(self.ticket, Outcome.SAID_NOTHING)
            return
        self.served = serve(self.ticket, self.client)
        self._transport.set_protocol(self.served)
        self.served.connection_made(self._transport)
        if self._said:
            self._transport.resume_reading()
            self.served.data_received(self._said)

    def data_received(self, data: bytes) -> None:
        """Buffers the client's version, usually; the rest stays in the kernel until the connection is served.

        Reading is not paused earlier, because uvloop starts it after `connection_made` in any case.
        """
        assert self._transport is not None  # noqa: S101 — it arrived
        self._said += data
        if self._awaits_header:
            self._read_header()
        elif self.served is None:
            self._transport.pause_reading()

    def _read_header(self) -> None:
        try:
            header = parse_header(self._said)
        except HeaderError as error:
            self._refuse_header(error)
            return
        if header is None:
            return
        self._awaits_header = False
        if self._gives_up is not None:
            self._gives_up.cancel()
        self.client = header.client or self.client
        self._said = self._said[header.size :]
        if self._said and self._transport is not None:
            self._transport.pause_reading()
        self._arrive()

    def _refuse_header(self, error: HeaderError) -> None:
        self._listener.note_refusal(self.address, f"{error}: {_ADVICE}")
        if self._transport is not None:
            self._transport.abort()

    def refuse(self, reason: str) -> None:
        """Closes it with a reason. The line starts with the same words as sshd's."""
        if self.served is not None:
            self.served.abort()
        elif self._transport is not None:
            self._transport.write(f"Exceeded MaxStartups: {reason}\r\n".encode())
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Records that it left or was refused before it was served."""
        if self._gives_up is not None:
            self._gives_up.cancel()
        if self.ticket is not None:
            self._listener.settle(self.ticket, Outcome.SAID_NOTHING)

    def _give_up(self) -> None:
        reason = "too many unauthenticated connections from this address"
        self._listener.note_refusal(self.address, reason)
        self.refuse(reason)


def listen_at(
    host: str, port: int, what: str = "the SSH gateway cannot listen on", option: str = "--ssh-port"
) -> socket.socket:
    """A socket that listens on an IP address.

    Raises ConfigError if it cannot: `what` begins its sentence, `option` chooses another port.
    """
    v6 = ipaddress.ip_address(host).version == 6  # noqa: PLR2004 — IPv6
    sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ConfigError(_cannot_listen(f"{what} {host}:{port}", option, error)) from error
    return sock


def _cannot_listen(what: str, option: str, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{what}: address in use; stop the other process (ss -ltnp), or choose another port with {option}"
    return f"{what}: {error.strerror or error}"
