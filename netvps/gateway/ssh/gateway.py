"""The SSH gateway: accepts connections, counts and limits them, has their access checked again, and drains them.

Each connection lives its own life (connection.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

import asyncssh
import structlog
from asyncssh import SSHServerConnectionOptions

from netvps.domain.access.admission import Admission, Outcome
from netvps.errors import NetvpsError
from netvps.gateway.proxy.connection import ProxyConnection
from netvps.gateway.ssh.algorithms import encryption_algorithms, kex_algorithms, signature_algorithms
from netvps.gateway.ssh.client_auth import PrecedingKeys
from netvps.gateway.ssh.connection import LOGIN_TIMEOUT, Backend, SshConnection
from netvps.gateway.ssh.listener import Listener
from netvps.gateway.ssh.readiness import shown_name
from netvps.gateway.tui.terminal_ui import TerminalUi
from netvps.gateway.wake.wakes import Wakes
from netvps.services.access.terminal_ui import TERMINAL_UI
from netvps.tasks import Tasks

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from netvps.domain.access.admission import Ticket
    from netvps.domain.access.audit import AuditEvent
    from netvps.gateway.ports import Authorizer, Connection, SnapshotBrowser, Tickets
    from netvps.gateway.relay.relay import Relay
    from netvps.gateway.ssh.agent_login import AgentLogin
    from netvps.gateway.ssh.pipe import Downstream
    from netvps.gateway.ssh.proxy_header import Balancers
    from netvps.gateway.tui.apps import TerminalApps
    from netvps.gateway.tui.session import Tokens
    from netvps.gateway.tunnel.dialer import Dialer
from netvps.services.access.logins import Grant

log = structlog.get_logger()

REVIEW_EVERY = 30.0
"""Interval in seconds at which access is checked again for connections to sessions without a connected agent."""
_RESTARTING: Final = "the gateway is restarting: connect again in a moment"


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of authenticated connections."""

    per_user: int = 1000
    per_session: int = 500


class SshGateway:
    """An async context manager that accepts connections on a listening socket.

    `host_key` is a private key (PEM), `user_ca` the public key of the CA for user certificates (OpenSSH form).
    """

    def __init__(
        self,
        authorizer: Authorizer,
        dialer: Dialer,
        agent_login: AgentLogin,
        *,
        sock: socket.socket,
        host_key: str,
        user_ca: str,
        limits: ConnectionLimits | None = None,
        admission: Admission | None = None,
        balancers: Balancers | None = None,
        rekey_bytes: int = 1 << 30,
        ui_apps: TerminalApps | None = None,
        ui_tokens: Tokens | None = None,
        audit: Callable[[AuditEvent], None] = lambda _event: None,
        relay: Relay | None = None,
        browser: SnapshotBrowser | None = None,
        tickets: Tickets | None = None,
    ) -> None:
        """Without `ui_apps` and `ui_tokens`, it shows no terminal UI; without `browser`, no snapshots.

        Without `tickets` it serves no `netvps ssh-proxy`, and without `relay` it passes all messages itself.

        `audit` takes events for the audit log.
        """
        self.audit = audit
        self._authorizer = authorizer
        self._dialer = dialer
        self._agent_login = agent_login
        self._sock = sock
        self._host_key = asyncssh.import_private_key(host_key)
        self._user_ca = asyncssh.import_public_key(user_ca).public_data
        self._rekey_bytes = rekey_bytes
        self._ui_apps, self._ui_tokens = ui_apps, ui_tokens
        self._relay = relay
        self._browser = browser
        self._tickets = tickets
        self._limits = limits or ConnectionLimits()
        self._listener = Listener(self._new_connection, admission, balancers, audit)
        self._tasks = Tasks()
        self._unauthenticated: set[Any] = set()
        self._connections: set[Any] = set()
        """Each a Connection."""
        self._per_user: Counter[str] = Counter()
        self._per_session: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False
        dialer.tunnels.on_config(self._review)
        dialer.tunnels.on_access(self._review_user)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._listener.port

    @property
    def connections(self) -> int:
        """Number of authenticated connections."""
        return len(self._connections)

    @property
    def unauthenticated(self) -> int:
        """Number of connections that are not authenticated yet."""
        return len(self._unauthenticated) + self._listener.waiting

    async def __aenter__(self) -> Self:
        """Starts accepting connections."""
        ui = None
        if self._ui_apps and self._ui_tokens:
            ui = TerminalUi(self._ui_apps, self._ui_tokens, self._dialer, self._agent_login, self._tasks)
        self._backend = Backend(
            self._authorizer,
            self._dialer,
            self._agent_login,
            self._user_ca,
            await self._options(),
            self._tasks,
            PrecedingKeys(),
            Wakes(self._authorizer, self._tasks),
            ui,
            self._relay,
            self._browser,
        )
        await self._listener.listen(self._sock)
        await self._tasks.__aenter__()
        self._tasks.start(self._keep_reviewing(), name="reviews")
        self._tasks.start(self._listener.log_summaries(), name="summaries of refusals")
        log.info("ssh gateway listens", address=self._sock.getsockname()[0], port=self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(0)

    async def stop(self, grace: float) -> None:
        """Stops accepting, waits at most `grace` seconds for open connections, then ends the rest with a reason."""
        self._stopping = True
        self._listener.close()
        await self._wait_empty(grace)
        for connection in [*self._connections, *self._unauthenticated]:
            connection.end(_RESTARTING)
        await self._wait_empty(2.0 if self._connections or self._unauthenticated else 0)
        for connection in [*self._connections, *self._unauthenticated]:
            connection.abort()
        await self._tasks.__aexit__()

    # Called by connections

    def reason_to_refuse(self, grant: Grant) -> str | None:
        """Why one more connection is not admitted now; None if it is."""
        limits = self._limits
        if self._stopping:
            return _RESTARTING
        if self._per_user[grant.user] >= limits.per_user:
            return f"{grant.user} has {limits.per_user} connections already: close some"
        if self._per_session[grant.session.uid] >= limits.per_session:
            name = shown_name(grant.session, grant.user)
            return f"session {name} has {limits.per_session} connections already: close some"
        return None

    def logged_in(self, connection: Connection) -> None:
        """Counts a connection for its user and its session."""
        self._unauthenticated.discard(connection)
        self._connections.add(connection)
        self._count(connection.grant, 1)
        self._listener.settle(connection.ticket, Outcome.LOGGED_IN)

    def count_channel(self, grant: Grant, change: int) -> None:
        """Counts a channel into a session like a connection to it."""
        _add(self._per_session, grant.session.uid, change)

    def refused(self, connection: Connection, outcome: Outcome, reason: str) -> None:
        """Records a connection that ended before it was authenticated."""
        if reason:
            login = {"login": connection.user_name, "key": connection.fingerprint} if connection.user_name else {}
            self._listener.note_refusal(connection.address, reason, origin=connection.origin, **login)
        self._listener.settle(connection.ticket, outcome)

    def ended(self, connection: Connection) -> None:
        """Removes a connection."""
        self._unauthenticated.discard(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self._count(connection.grant, -1)
        if not self._connections and not self._unauthenticated:
            self._empty.set()

    # Internals

    def _new_connection(self, ticket: Ticket, client: tuple[str, int]) -> Downstream:
        connection = SshConnection(self, self._backend, ticket, client)
        self._unauthenticated.add(connection)
        self._empty.clear()
        if self._tickets is not None:
            connection.downstream.proxied = partial(self._proxied, connection, client, self._tickets)
        return connection.downstream

    def _proxied(
        self,
        login: SshConnection,
        client: tuple[str, int],
        tickets: Tickets,
        transport: asyncio.Transport,
        said: bytes,
    ) -> None:
        """Serves a connection of `netvps ssh-proxy` in place of a login."""
        made = ProxyConnection(self, self._backend, tickets, login.ticket, client)
        self._unauthenticated.discard(login)
        self._unauthenticated.add(made)
        made.take_over(transport, said)

    def _count(self, grant: Grant, change: int) -> None:
        _add(self._per_user, grant.user, change)
        if grant.session.uid != TERMINAL_UI:  # that of everyone
            _add(self._per_session, grant.session.uid, change)

    def _review(self, session_uid: str) -> None:
        """Checks access again for all connections to a session, after its keys may have changed."""
        self._start_reviews(connection for connection in self._connections if session_uid in connection.sessions)

    def _review_user(self, user: str) -> None:
        """Checks access again for all connections of a user, or of everyone ('')."""
        self._start_reviews(connection for connection in self._connections if user in {"", connection.grant.user})

    def _start_reviews(self, connections: Iterable[Connection]) -> None:
        for connection in list(connections):
            if not self._stopping:
                self._tasks.start(connection.review(), name=f"review of {connection.origin}")

    async def _keep_reviewing(self) -> None:
        """Checks access again for overlay connections to sessions whose agent is not connected (no `on_config`)."""
        while True:
            await asyncio.sleep(REVIEW_EVERY)
            connections = list(self._connections)
            try:
                sessions = {uid for connection in connections for uid in connection.sessions if uid != TERMINAL_UI}
                unwatched = await self._dialer.tunnels.unwatched(sessions)
            except NetvpsError as error:
                log.warning("cannot check access again", error=str(error))
                continue
            for connection in connections:
                if connection.sessions & unwatched:
                    await connection.review()

    async def _wait_empty(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()

    async def _options(self) -> SSHServerConnectionOptions:
        options: SSHServerConnectionOptions = await SSHServerConnectionOptions.construct(
            config=None,
            server_host_keys=[self._host_key],
            server_version="netvps",
            kex_algs=kex_algorithms(),
            encryption_algs=encryption_algorithms(),
            signature_algs=signature_algorithms(),
            compression_algs=None,  # decompressed data has no size limit
            gss_host=None,
            x509_trusted_certs=None,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            login_timeout=LOGIN_TIMEOUT,
            keepalive_interval=0,  # TCP keepalive suffices, and SSH's replies would mix with the client's
            rekey_bytes=self._rekey_bytes,
        )
        return options


def _add(counter: Counter[str], key: str, change: int) -> None:
    counter[key] += change
    if not counter[key]:
        del counter[key]
