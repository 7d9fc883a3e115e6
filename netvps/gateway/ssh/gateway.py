"""The SSH gateway: accepts connections, authorises logins, and joins each connection with the session's agent."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import asyncssh
import structlog
from asyncssh import SSHServerConnectionOptions
from asyncssh.constants import DISC_BY_APPLICATION, DISC_CONNECTION_LOST

from netvps.domain.access.admission import Admission, Outcome
from netvps.domain.tunnel import SshTarget
from netvps.errors import NetvpsError, NotFound, NotPermitted
from netvps.gateway.ssh.algorithms import encryption_algorithms, kex_algorithms
from netvps.gateway.ssh.connection import LOGIN_TIMEOUT, SshConnection, shown_name
from netvps.gateway.ssh.listener import Listener
from netvps.gateway.ssh.pipe import Downstream, Upstream
from netvps.tasks import Tasks
from netvps.timing import observe_duration

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable

    from netvps.gateway.ports import Authorizer, Stream
    from netvps.gateway.ssh.agent_login import AgentLogin
    from netvps.gateway.tunnel.dialer import Dialer
    from netvps.services.access.logins import Grant

log = structlog.get_logger()

REVIEW_EVERY = 30.0
"""Interval in seconds at which access is checked again for connections to sessions without a connected agent."""
_COMPANIONS = 4096
"""Maximum number of fingerprints remembered as refused right before another key of the same client logged in."""
_REVOKED = "your access to this session ended"


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
        rekey_bytes: int = 1 << 30,
    ) -> None:
        self.authorizer = authorizer
        self._dialer = dialer
        self._agent_login = agent_login
        self._sock = sock
        self._host_key = asyncssh.import_private_key(host_key)
        self.user_ca = asyncssh.import_public_key(user_ca).public_data
        self._rekey_bytes = rekey_bytes
        self._limits = limits or ConnectionLimits()
        self._listener = Listener(self._new_leg, admission)
        self._tasks = Tasks()
        self._unauthenticated: set[SshConnection] = set()
        self._connections: set[SshConnection] = set()
        self._per_user: Counter[str] = Counter()
        self._per_session: Counter[str] = Counter()
        self._companions: OrderedDict[str, None] = OrderedDict()
        self._empty = asyncio.Event()
        self._empty.set()
        self._stopping = False
        dialer.tunnels.on_config(self._review)

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
        self._options = await SSHServerConnectionOptions.construct(
            server_factory=self._new_connection,
            config=None,
            server_host_keys=[self._host_key],
            server_version="netvps",
            kex_algs=kex_algorithms(),
            encryption_algs=encryption_algorithms(),
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
            self._end(connection, "the gateway is restarting: connect again in a moment")
        await self._wait_empty(2.0 if self._connections or self._unauthenticated else 0)
        for connection in [*self._connections, *self._unauthenticated]:
            connection.leg.abort()
        await self._tasks.__aexit__()

    # Called by connections

    def explains(self, fingerprint: str) -> bool:
        """Whether to explain to a client that this key was refused. Not if it preceded a successful key before."""
        return fingerprint not in self._companions

    def admit(self, connection: SshConnection) -> str:
        """Why a connection is not admitted now; '' if it is."""
        if self._stopping:
            return "the gateway is restarting: connect again in a moment"
        grant, limits = _granted(connection), self._limits
        if self._per_user[grant.user] >= limits.per_user:
            return f"{grant.user} has {limits.per_user} connections already: close some"
        if self._per_session[grant.session.uid] >= limits.per_session:
            name = shown_name(grant.session, grant.user)
            return f"session {name} has {limits.per_session} connections already: close some"
        return ""

    def begin(self, connection: SshConnection) -> None:
        """Joins an authenticated connection with the session's agent."""
        self._unauthenticated.discard(connection)
        self._connections.add(connection)
        self._count(_granted(connection), 1)
        self._settle(connection, Outcome.LOGGED_IN)
        for fingerprint in connection.refused_keys:
            self._companions[fingerprint] = None
            self._companions.move_to_end(fingerprint)
        while len(self._companions) > _COMPANIONS:
            self._companions.popitem(last=False)
        connection.serving = self._tasks.start(self._serve(connection), name=f"ssh from {connection.origin}")

    def gone(self, connection: SshConnection) -> None:
        """Removes a connection that has ended."""
        self._unauthenticated.discard(connection)
        if connection in self._connections:
            self._connections.discard(connection)
            self._count(_granted(connection), -1)
        if connection.serving is not None and connection.upstream is None:
            connection.serving.cancel()  # the client left while the agent was dialled
        if not self._connections and not self._unauthenticated:
            self._empty.set()

    def refused(self, connection: SshConnection, outcome: Outcome, reason: str) -> None:
        """Records a connection that ended before it was authenticated."""
        if reason:
            login = {"login": connection.user_name, "key": connection.fingerprint} if connection.user_name else {}
            self._listener.note_refusal(connection.address, reason, origin=connection.origin, **login)
        self._settle(connection, outcome)

    # Internals

    def _settle(self, connection: SshConnection, outcome: Outcome) -> None:
        if connection.leg.ticket is not None:
            self._listener.settle(connection.leg.ticket, outcome)

    def _count(self, grant: Grant, change: int) -> None:
        for counter, key in ((self._per_user, grant.user), (self._per_session, grant.session.uid)):
            counter[key] += change
            if not counter[key]:
                del counter[key]

    def _new_leg(self) -> Downstream:
        return Downstream(asyncio.get_running_loop(), self._options)

    def _new_connection(self) -> SshConnection:
        connection = SshConnection(self)
        self._unauthenticated.add(connection)
        self._empty.clear()
        return connection

    async def _serve(self, connection: SshConnection) -> None:
        grant = _granted(connection)
        name = shown_name(grant.session, grant.user)
        try:
            connection.upstream = await self._reach(connection)
            connection.leg.join(connection.upstream)
            observe_duration("gateway_login", "joined", connection.age)
            why = await self._until_end(connection, connection.upstream)
            self._end(connection, f"session {name} went away: {why}")
        except NetvpsError as error:
            observe_duration("gateway_login", "unreachable", connection.age)
            self._end(connection, f"session {name} cannot be reached: {error}")
        finally:
            self._end(connection, "the gateway ended it")

    async def _reach(self, connection: SshConnection) -> Upstream:
        """Dials the agent. Checks authorisation again first: the key may have been removed during the login.

        Raises NetvpsError.
        """
        await self._recheck(connection)
        grant = _granted(connection)

        def dial() -> Awaitable[Stream]:
            return self._dialer.open(grant.session.uid, SshTarget(), f"{grant.user}@{connection.origin}")

        return await self._agent_login.reach(dial, grant, Upstream)

    async def _until_end(self, connection: SshConnection, upstream: Upstream) -> str:
        """Waits until either side ends, and ends the agent's side.

        Returns the agent's reason, if the agent ended first.
        """
        gone = [
            self._tasks.start(connection.leg.wait_closed(), name=f"client {connection.origin}"),
            self._tasks.start(upstream.wait_closed(), name=f"agent for {connection.origin}"),
        ]
        try:
            await asyncio.wait(gone, return_when=asyncio.FIRST_COMPLETED)
            upstream.end(DISC_BY_APPLICATION, "the client left")
            await gone[1]
            return str(upstream.lost or "it closed the connection")
        finally:
            upstream.abort()
            for task in gone:
                task.cancel()

    def _end(self, connection: SshConnection, reason: str) -> None:
        connection.ending = connection.ending or reason
        connection.leg.end(DISC_CONNECTION_LOST, reason)

    # Revocation

    def _review(self, session_uid: str) -> None:
        """Checks access again for all connections to a session, after its keys may have changed."""
        for connection in list(self._connections):
            if _granted(connection).session.uid == session_uid and not self._stopping:
                self._tasks.start(self._review_one(connection), name=f"review of {connection.origin}")

    async def _keep_reviewing(self) -> None:
        """Checks access again for overlay connections to sessions whose agent is not connected (no `on_config`)."""
        while True:
            await asyncio.sleep(REVIEW_EVERY)
            connections = list(self._connections)
            try:
                unwatched = await self._dialer.tunnels.unwatched(
                    {_granted(connection).session.uid for connection in connections}
                )
            except NetvpsError as error:
                log.warning("cannot check access again", error=str(error))
                continue
            for connection in connections:
                if _granted(connection).session.uid in unwatched:
                    await self._review_one(connection)

    async def _review_one(self, connection: SshConnection) -> None:
        try:
            await self._recheck(connection)
        except (NotFound, NotPermitted):
            self._end(connection, _REVOKED)
        except NetvpsError as error:
            log.warning("cannot check access again", origin=connection.origin, error=str(error))

    async def _recheck(self, connection: SshConnection) -> None:
        if connection.login is None:
            raise NotPermitted(_REVOKED)
        grant = await connection.authorization(connection.login)
        if grant.session.uid != _granted(connection).session.uid or grant.user != _granted(connection).user:
            raise NotPermitted(_REVOKED)

    async def _wait_empty(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()


def _granted(connection: SshConnection) -> Grant:
    if connection.grant is None:
        raise RuntimeError("an authenticated connection has no grant")
    return connection.grant
