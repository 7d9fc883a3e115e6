"""What the gateway needs of the use cases, and of a connection into a session, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from netvps.domain.names import SshLogin
    from netvps.domain.tunnel import AgentConfig
    from netvps.services.gateway_place import Way
    from netvps.services.logins import Grant


class Stream(Protocol):
    """A connection into a session."""

    @property
    def way(self) -> Literal["overlay", "tunnel"]:
        """Which it came."""

    def start(self, protocol: asyncio.Protocol) -> None:
        """Joins it with its protocol, once, which then has a transport as a TCP connection's is. Raises OSError."""

    def abort(self) -> None:
        """Ends it at once. Twice is fine."""

    def other_way(self) -> bool:
        """Its login came to nothing: whether the next dial goes another way."""


Dial = Callable[[], Awaitable[Stream]]


class Place(Protocol):
    """Where the gateway is on the overlay; services/gateway_place.py fulfils it."""

    def way(self, session_uid: str) -> Way | None:
        """To a session's own address; None if the overlay does not lead from here to there."""


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
