"""The gateway's logins to agents: an ephemeral key and certificate; verifies the agent's host certificate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import asyncssh
import structlog
from asyncssh import SSHClientConnection, SSHClientConnectionOptions

from netvps.errors import NotPermitted, Unavailable
from netvps.faults import fault_point
from netvps.gateway.ssh.algorithms import encryption_algorithms, kex_algorithms

if TYPE_CHECKING:
    from netvps.gateway.ports import Certifier, Dial, Stream
    from netvps.services.access.logins import Grant

LOGIN_TIMEOUT = 15.0
OVERLAY_TIMEOUT = 5.0
"""Shorter, so that the tunnel can still be tried if the overlay passes small packets but not large ones."""

Connection = TypeVar("Connection", bound=SSHClientConnection)
log = structlog.get_logger()


class StreamBroke(Unavailable):
    """The stream ended before the login completed, because the agent was stopping or restarting."""


class AgentLogin:
    """Logs in to agents and verifies their host certificates against the host CA (OpenSSH form)."""

    def __init__(self, certifier: Certifier, host_ca: str, *, rekey_bytes: int = 1 << 30) -> None:
        self._certifier = certifier
        self._host_ca = asyncssh.import_public_key(host_ca)
        self._rekey_bytes = rekey_bytes

    async def reach(self, dial: Dial, grant: Grant, kind: type[Connection]) -> Connection:
        """Dials and logs in; retries once if the stream broke before the login, since no user data was sent yet.

        Also retries if the stream came over the overlay and failed, on another route. Raises what `dial` and `login`
        raise.
        """
        fault_point("gateway.authenticated")
        broke = False
        while True:
            stream = await dial()
            try:
                connection = await self.login(stream, grant, kind)
            except Unavailable as error:
                if not stream.other_way():
                    if broke or not isinstance(error, StreamBroke):
                        raise
                    broke = True
                log.info("dialling again", session=grant.session.uid, way=stream.way, error=error.message)
            else:
                log.info("session reached", session=grant.session.uid, user=grant.user, way=stream.way)
                return connection

    async def login(self, stream: Stream, grant: Grant, kind: type[Connection]) -> Connection:
        """Logs in over the stream and returns the connection, of class `kind`.

        Raises NotPermitted if there is no such Unix user, StreamBroke if the stream ended meanwhile, Unavailable for
        other failures; the stream is closed then.
        """
        seconds = OVERLAY_TIMEOUT if stream.way == "overlay" else LOGIN_TIMEOUT
        try:
            async with asyncio.timeout(seconds):
                return await self._login(stream, grant, kind)
        except TimeoutError:
            raise Unavailable(f"the session's SSH server did not answer within {seconds:.0f} s") from None
        except asyncssh.PermissionDenied:
            raise NotPermitted(
                f"it lets no one in as {grant.unix_user}: see whether its /etc/passwd has such a user, and whether the"
                " clocks of its machine and of the gateway agree"
            ) from None
        except (asyncssh.ConnectionLost, OSError) as error:
            raise StreamBroke(f"the session's SSH server refused the gateway: {error}") from error
        except (asyncssh.Error, ValueError) as error:  # data that is not SSH may raise ValueError
            raise Unavailable(f"the session's SSH server refused the gateway: {error}") from error

    async def _login(self, stream: Stream, grant: Grant, kind: type[Connection]) -> Connection:
        connection: Connection | None = None
        done = False
        try:
            options = await self._options(grant)
            connection = kind(asyncio.get_running_loop(), options, wait="auth")
            stream.start(connection)
            assert options.waiter is not None  # noqa: S101 — set in _options
            await options.waiter
            done = True
            return connection
        finally:
            if not done:
                stream.abort()
                if connection is not None:
                    connection.abort()

    async def _options(self, grant: Grant) -> SSHClientConnectionOptions:
        key = asyncssh.generate_private_key("ssh-ed25519")
        public_key = key.export_public_key().decode().strip()
        certificate = asyncssh.import_certificate(await self._certifier.certify(grant, public_key))
        options: SSHClientConnectionOptions = await SSHClientConnectionOptions.construct(
            config=None,
            host=grant.session.uid,  # the principal that the host certificate must have
            username=grant.unix_user,
            client_keys=[(key, certificate)],
            known_hosts=([], [self._host_ca], []),
            preferred_auth=["publickey"],
            agent_path=None,
            gss_host=None,
            x509_trusted_certs=None,
            client_version="netvps",
            kex_algs=kex_algorithms(),
            encryption_algs=encryption_algorithms(),
            compression_algs=None,
            rekey_bytes=self._rekey_bytes,
            login_timeout=LOGIN_TIMEOUT,
            keepalive_interval=0,  # its replies would be mistaken for those to the client's requests
        )
        options.waiter = asyncio.get_running_loop().create_future()
        return options
