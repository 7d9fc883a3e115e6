"""Authenticates one SSH client: decides about each key and certificate that it offers, and keeps the accepted one."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from netvps.domain.checks import shown
from netvps.domain.names import SshLogin
from netvps.domain.sleep.waking import LoginKind
from netvps.errors import InvalidInput, NotFound, NotPermitted
from netvps.gateway.ssh.user_certificate import certified_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asyncssh import SSHKey
    from asyncssh.public_key import SSHOpenSSHCertificate

    from netvps.gateway.ports import Authorizer
    from netvps.services.access.logins import Grant

REVOKED: Final = "your access to this session ended"
_EXPLAINED: Final = 3
"""Maximum number of refused keys per connection that are explained to the user."""
_MAX_PRECEDING: Final = 4096


class PrecedingKeys:
    """Fingerprints of keys that were refused right before another key of the same client was accepted.

    A client with several keys offers them in the same order each time: explaining these would be noise. The least
    recent are forgotten.
    """

    def __init__(self) -> None:
        self._fingerprints: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._fingerprints

    def add(self, fingerprints: Iterable[str]) -> None:
        """Remembers the keys that a client offered before the accepted one."""
        for fingerprint in fingerprints:
            self._fingerprints[fingerprint] = None
            self._fingerprints.move_to_end(fingerprint)
        while len(self._fingerprints) > _MAX_PRECEDING:
            self._fingerprints.popitem(last=False)


class ClientAuth:
    """The authentication of one client. `explain` shows the client why a key was refused."""

    def __init__(
        self, authorizer: Authorizer, user_ca: bytes, preceding: PrecedingKeys, explain: Callable[[str], None]
    ) -> None:
        """`user_ca` is the public key, in SSH wire format, of the CA for user certificates."""
        self._authorizer = authorizer
        self._user_ca = user_ca
        self._preceding = preceding
        self._explain = explain
        self.grant: Grant | None = None
        """What the key that was checked last may do; None if it was refused."""
        self.fingerprint = ""
        """Of the key that was checked last."""
        self._user = ""
        """The user named by the client's certificate; '' if it uses a plain key."""
        self._login: SshLogin | None = None
        self._refused: list[str] = []

    @property
    def asks_to_wake(self) -> bool:
        """Whether the login asks to start the session."""
        return self._login is not None and self._login.wake

    @property
    def kind(self) -> LoginKind:
        """What is known of the login before its first channel."""
        return LoginKind.ASKED if self.asks_to_wake else LoginKind.PLAIN

    async def accepts_key(self, username: str, key: SSHKey) -> bool:
        """Whether a key opens that session. Called when the key is offered, and again after its signature.

        Raises a NetvpsError if that cannot be decided now.
        """
        return await self._accepts(username, key, "")

    async def accepts_certificate(self, username: str, certificate: SSHOpenSSHCertificate) -> bool:
        """Whether a certificate opens that session. Called and raises like `accepts_key`; its CA may be any key."""
        try:
            user = certified_user(certificate, self._user_ca, time.time())
        except NotPermitted as error:
            self.fingerprint = certificate.key.get_fingerprint()
            self._refuse(error.message)
            return False
        return await self._accepts(username, certificate.key, user)

    async def check_again(self) -> Grant:
        """What the accepted key may do now.

        Raises NotPermitted or NotFound if it no longer opens the session, else a NetvpsError.
        """
        if self._login is None or self.grant is None:
            raise NotPermitted(REVOKED)
        now = await self.authorize(self._login)
        if (now.session.uid, now.user) != (self.grant.session.uid, self.grant.user):
            raise NotPermitted(REVOKED)
        return now

    def completed(self) -> None:
        """Remembers the keys that were refused before the accepted one."""
        self._preceding.add(self._refused)

    async def _accepts(self, username: str, key: SSHKey, user: str) -> bool:
        self.grant, self._login, self.fingerprint, self._user = None, None, key.get_fingerprint(), user
        try:
            login = SshLogin.of_client(username)
        except InvalidInput:
            self._refuse(f"{shown(username)} is no session name: log in as NAME or NAME.OWNER; `netvps ls` lists yours")
            return False
        try:
            self.grant = await self.authorize(login)
        except (NotFound, NotPermitted):
            # The same message for an unknown key and for a user without that session: the key is not proved yet.
            self._refuse(
                f"session {login.session} is not open to {'user' if user else 'key'} {user or self.fingerprint}: "
                + ("`netvps ls` lists yours" if user else "`netvps key add` registers a key, `netvps ls` lists yours")
            )
            return False
        self._login = login
        return True

    async def authorize(self, login: SshLogin) -> Grant:
        """What the key that was checked last may do with a login. Raises what the Authorizer raises."""
        if self._user:
            return await self._authorizer.authorize_user(login, self._user)
        return await self._authorizer.authorize(login, self.fingerprint)

    def _refuse(self, reason: str) -> None:
        """Explains the first refused keys; otherwise clients show only 'Permission denied'."""
        first = self.fingerprint not in self._refused and len(self._refused) < _EXPLAINED
        self._refused.append(self.fingerprint)
        if first and self.fingerprint not in self._preceding:
            self._explain(reason)
