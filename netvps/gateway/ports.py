"""What the gateway needs of the use cases, as a Protocol; services/logins.py fulfils it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.domain.names import SshLogin
    from netvps.domain.tunnel import AgentConfig
    from netvps.services.logins import Grant


class Configs(Protocol):
    """Tells agents what to go by."""

    def configs(self, session_uid: str, epoch: int, host_key: str) -> AsyncGenerator[AgentConfig, None]:
        """The config now, and each that comes after it. Raises NotFound when that epoch is over."""


class Certifier(Protocol):
    """Signs the gateway's own logins to agents."""

    async def certify(self, grant: Grant, public_key: str) -> str:
        """A user certificate of three minutes, OpenSSH form, for the session and Unix user of the grant."""


class Doorman(Certifier, Protocol):
    """Decides who may come in."""

    async def authorize(self, login: SshLogin, fingerprint: str) -> Grant:
        """Whom a key lets in, and where. Raises NotFound or NotPermitted, which look the same from outside."""
