"""The life of one SSH login: authorises the client's key or certificate for a session, and writes the audit log."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Protocol

import structlog
from asyncssh import DisconnectError, ProtocolError, SSHServer
from asyncssh.constants import DISC_PROTOCOL_ERROR, DISC_SERVICE_NOT_AVAILABLE

from netvps.domain.access.admission import Outcome
from netvps.domain.checks import shown
from netvps.domain.names import SshLogin
from netvps.domain.session.session import SessionState
from netvps.errors import InvalidInput, NetvpsError, NotFound, NotPermitted
from netvps.gateway.ssh.user_certificate import certified_user
from netvps.timing import observe_duration

if TYPE_CHECKING:
    import asyncio

    from asyncssh import SSHKey, SSHServerConnection
    from asyncssh.public_key import SSHOpenSSHCertificate

    from netvps.gateway.ports import Authorizer
    from netvps.gateway.ssh.pipe import Downstream, Upstream
    from netvps.services.access.logins import Grant, Reachable

log = structlog.get_logger()

LOGIN_TIMEOUT = 30.0
_EXPLAINED = 3
"""Maximum number of refused keys per connection that are explained to the user."""
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""A client that vanished is detected within two minutes."""
_HINTS = {
    SessionState.STOPPED: "start it with: netvps start {name}",
    SessionState.STOPPING: "when it is STOPPED, start it with: netvps start {name}",
    SessionState.SNAPSHOTTING: "when it is STOPPED, start it with: netvps start {name}",
    SessionState.PAUSED: "ask whoever paused it",
    SessionState.FAILED: "see why with: netvps show {name}",
    SessionState.DELETED: "create it again with: netvps create {name}",
}


class Host(Protocol):
    """The gateway as a connection uses it."""

    authorizer: Authorizer
    user_ca: bytes
    """Public key, in SSH wire format, of the CA for user certificates."""

    def explains(self, fingerprint: str) -> bool:
        """Whether to explain to a client that this key was refused; not if it regularly precedes a key that logs in."""

    def admit(self, connection: SshConnection) -> str:
        """Why an authenticated connection is not admitted now; '' if it is."""

    def begin(self, connection: SshConnection) -> None:
        """Called when the login is complete."""

    def gone(self, connection: SshConnection) -> None:
        """Called when the connection has ended."""

    def refused(self, connection: SshConnection, outcome: Outcome, reason: str) -> None:
        """Called when the connection ended before the login was complete; `reason` is '' if nothing is to be logged."""


class SshConnection(SSHServer):
    """The callbacks of asyncssh for one client connection: keys to check, and events."""

    def __init__(self, host: Host) -> None:
        self.origin = ""
        self.address = ""
        self.grant: Grant | None = None
        self.login: SshLogin | None = None
        self.fingerprint = ""
        self.user = ""
        """The user named by the client's certificate; '' if it uses a plain key."""
        self.refused_keys: list[str] = []
        """Fingerprints of the keys that were refused."""
        self.welcome = False
        self.ending = ""
        """Why the gateway ends the connection; '' if it does not."""
        self.upstream: Upstream | None = None
        self.serving: asyncio.Task[None] | None = None
        self._host = host
        self._began = time.monotonic()
        self._user_name = ""
        self._refused = ""

    @property
    def user_name(self) -> str:
        """The login name that the client sent; '' until then."""
        return self._user_name

    @property
    def age(self) -> float:
        """Seconds since the connection was accepted."""
        return time.monotonic() - self._began

    # Called by asyncssh

    def connection_made(self, conn: SSHServerConnection) -> None:
        """Records the client's address and enables TCP keepalive."""
        self.leg: Downstream = conn  # type: ignore[assignment] # the listener makes no others
        address = conn.get_extra_info("peername") or ("unknown", 0)
        self.address = str(address[0])
        self.origin = f"{address[0]}:{address[1]}"
        if (sock := conn.get_extra_info("socket")) is not None:
            for option, value in _KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def begin_auth(self, username: str) -> bool:
        """Requires a key for every login name, so that a client without one cannot find out which sessions exist."""
        self._user_name = username
        return True

    def public_key_auth_supported(self) -> bool:
        """Public keys are the only method."""
        return True

    async def validate_public_key(self, username: str, key: SSHKey) -> bool:
        """Whether the key opens that session. Called when the key is offered, and again after its signature."""
        return await self._check(username, key, "")

    async def validate_certificate(self, username: str, certificate: SSHOpenSSHCertificate) -> bool:
        """Whether a certificate opens that session. Called like validate_public_key; its CA may be any key."""
        try:
            user = certified_user(certificate, self._host.user_ca, time.time())
        except NotPermitted as error:
            self.fingerprint = certificate.key.get_fingerprint()
            self._explain(error.message)
            return False
        return await self._check(username, certificate.key, user)

    async def authorization(self, login: SshLogin) -> Grant:
        """The login that the client's key or certificate gets now. Raises what the Authorizer raises."""
        if self.user:
            return await self._host.authorizer.authorize_user(login, self.user)
        return await self._host.authorizer.authorize(login, self.fingerprint)

    async def _check(self, username: str, key: SSHKey, user: str) -> bool:
        self.grant, self.login, self.fingerprint, self.user = None, None, key.get_fingerprint(), user
        try:
            login = SshLogin.parse(username)
        except InvalidInput:
            self._explain(
                f"{shown(username)} is no session name: log in as NAME or NAME.OWNER; `netvps ls` lists yours"
            )
            return False
        try:
            self.grant = await self.authorization(login)
        except (NotFound, NotPermitted):
            # The same message for an unknown key and for a user without that session: the key is not proved yet.
            self._explain(
                f"session {login.session} is not open to {'user' if user else 'key'} {user or self.fingerprint}: "
                + ("`netvps ls` lists yours" if user else "`netvps key add` registers a key, `netvps ls` lists yours")
            )
            return False
        except NetvpsError as error:
            log.warning("cannot check logins", error=str(error))
            self.ending = f"cannot check logins now: {error}"
            self.leg.end(DISC_SERVICE_NOT_AVAILABLE, self.ending)
            return False
        self.login = login
        return True

    def _explain(self, reason: str) -> None:
        """Explains a refused key in a banner; otherwise clients show only 'Permission denied'."""
        first = self.fingerprint not in self.refused_keys and len(self.refused_keys) < _EXPLAINED
        self.refused_keys.append(self.fingerprint)
        if first and self._host.explains(self.fingerprint):
            self.leg.send_auth_banner(f"netvps: {reason}\r\n")

    def refusal(self) -> str:
        """Called after a valid signature: why the login is refused; '' if it succeeds."""
        if self.grant is None:
            raise RuntimeError("a login without a grant was about to succeed")
        self._refused = closed(self.grant) or self._host.admit(self)
        return self._refused

    def auth_completed(self) -> None:
        """Starts serving the connection."""
        self.welcome = True
        self._log("ssh login", client=self.leg.get_extra_info("client_version", ""))
        self._host.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Logs and reports the end of the client's connection."""
        if self.welcome:
            sent = self.upstream.passed if self.upstream else 0
            reason = self.ending or (str(exc) if exc else "the client left")
            self._log(
                "ssh end",
                reason=reason,
                received_bytes=self.leg.passed,
                sent_bytes=sent,
                seconds=round(self.age, 1),
            )
        else:
            self._report_refusal(exc)
        self._host.gone(self)

    def _report_refusal(self, exc: Exception | None) -> None:
        if self._refused or self.ending:
            outcome, reason = Outcome.LOGGED_IN, self._refused or self.ending
        elif isinstance(exc, ProtocolError) or (isinstance(exc, DisconnectError) and exc.code == DISC_PROTOCOL_ERROR):
            outcome, reason = Outcome.ABUSED, str(exc)
        elif self._user_name:
            outcome, reason = Outcome.FAILED, "no accepted key"
        elif self.leg.spoke():
            outcome, reason = Outcome.FAILED, f"no login: {exc or 'the client left'}"
        elif self.age >= LOGIN_TIMEOUT:
            outcome, reason = Outcome.FAILED, "no data from the client"
        else:
            outcome, reason = Outcome.SAID_NOTHING, ""
        if self._user_name:
            observe_duration("gateway_login", "refused", self.age)
        self._host.refused(self, outcome, reason)

    def _log(self, event: str, **more: object) -> None:
        who = {} if self.grant is None else {"session": self.grant.session.uid, "user": self.grant.user}
        log.info(event, origin=self.origin, key=self.fingerprint, **who, **more)


def shown_name(session: Reachable, user: str) -> str:
    """The name by which that user refers to the session."""
    return session.name if session.owner == user else str(session.full_name)


def closed(grant: Grant) -> str:
    """Why the session's state does not permit logins; '' if it does.

    UNREACHABLE permits them: the runner is silent, but the agent may still be connected.
    """
    session = grant.session
    if session.state in {SessionState.RUNNING, SessionState.UNREACHABLE}:
        return ""
    name = shown_name(session, grant.user)
    hint = _HINTS.get(session.state, "try again in a moment").format(name=name)
    return f"session {name} is {session.state}: {hint}"
