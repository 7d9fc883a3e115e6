"""What the gateway needs of the use cases, and of a connection into a session, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Iterable

    from netvps.domain.names import SshLogin
    from netvps.domain.tunnel import AgentConfig, DialTarget
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


Locate = Callable[[str], Awaitable["Way | None"]]
"""To a session's own address on the overlay, by its uid; None if the overlay does not lead from here to there."""


class SessionDialer(Protocol):
    """Connections into sessions through their tunnels, and news of their agents: Tunnels, or what asks them."""

    async def open(self, session_uid: str, target: DialTarget, origin: str) -> Stream:
        """A connection into a session, not started yet; `origin` says who is behind it, for the agent's log."""

    def on_config(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with the uid of a session whenever its agent is told a new config."""

    async def unwatched(self, session_uids: Iterable[str]) -> set[str]:
        """Those whose agents are not connected, so that `on_config` says nothing of them."""


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

    async def authorize_user(self, login: SshLogin, user_name: str) -> Grant:
        """Where a user gets in who proved who they are by a certificate. Raises NotFound, NotPermitted."""
