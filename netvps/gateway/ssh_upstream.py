"""The gateway's own logins to agents: a key made for the occasion, a certificate for it, and the agent's checked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import asyncssh
import structlog
from asyncssh import SSHClientConnection, SSHClientConnectionOptions

from netvps.errors import NotPermitted, Unavailable
from netvps.gateway.ssh_algorithms import encryption_algorithms, kex_algorithms

if TYPE_CHECKING:
    from netvps.gateway.ports import Certifier, Dial, Stream
    from netvps.services.logins import Grant

LOGIN_TIMEOUT = 15.0
OVERLAY_TIMEOUT = 5.0
"""Where small packets arrive and large ones do not, the tunnel shall still have time."""

Connection = TypeVar("Connection", bound=SSHClientConnection)
log = structlog.get_logger()


class StreamBroke(Unavailable):
    """The stream ended before the login did: its agent was just going, or starting anew."""


class Upstream:
    """Logs in to agents, whose host certificates it checks against the host CA (OpenSSH form)."""

    def __init__(self, certifier: Certifier, host_ca: str, *, rekey_bytes: int = 1 << 30) -> None:
        self._certifier = certifier
        self._host_ca = asyncssh.import_public_key(host_ca)
        self._rekey_bytes = rekey_bytes

    async def reach(self, dial: Dial, grant: Grant, kind: type[Connection]) -> Connection:
        """Dials and logs in; once more if the first stream broke on the way, for nobody's bytes were on it yet.

        And if it came over the overlay, and did not lead to this session's agent. Raises what `dial` and `login` do.
        """
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
                log.info("dialling once more", session=grant.session.uid, way=stream.way, error=error.message)
            else:
                log.info("session reached", session=grant.session.uid, user=grant.user, way=stream.way)
                return connection

    async def login(self, stream: Stream, grant: Grant, kind: type[Connection]) -> Connection:
        """A connection of that class over the stream, logged in.

        Raises NotPermitted if there is no such Unix user, StreamBroke if the stream ended meanwhile, Unavailable for
        the rest; the stream is closed then.
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
            raise StreamBroke(f"the session's SSH server did not let the gateway in: {error}") from error
        except (asyncssh.Error, ValueError) as error:  # what is no SSH may also be called an incomplete packet
            raise Unavailable(f"the session's SSH server did not let the gateway in: {error}") from error

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
            host=grant.session.uid,  # what the host certificate must be for
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
            keepalive_interval=0,  # its replies would be taken for those to the client's requests
        )
        options.waiter = asyncio.get_running_loop().create_future()
        return options
