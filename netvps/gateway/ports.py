"""Interfaces that the gateway requires of the use cases and of connections into sessions, as Protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from netvps.domain.access.admission import Outcome, Ticket
    from netvps.domain.access.audit import AuditEvent
    from netvps.domain.names import SshLogin
    from netvps.domain.sleep.waking import LoginKind
    from netvps.domain.tunnel import Activity, AgentConfig, DialTarget, Frame, SelfService
    from netvps.services.access.logins import Grant, SessionRef
    from netvps.services.access.ssh_tickets import Admitted
    from netvps.services.http.visits import AdmittedRequest
    from netvps.services.network.gateway_location import Route


class Stream(Protocol):
    """A connection into a session."""

    @property
    def way(self) -> Literal["overlay", "tunnel"]:
        """The route that it takes."""

    def start(self, protocol: asyncio.Protocol) -> None:
        """Connects it to its protocol, once; the protocol then has a transport like that of a TCP connection.

        Raises OSError.
        """

    def abort(self) -> None:
        """Ends it immediately. Idempotent."""

    def other_way(self) -> bool:
        """Called after a failed login: whether the next dial takes another route."""


Dial = Callable[[], Awaitable[Stream]]


Locate = Callable[[str], Awaitable["Route | None"]]
"""Returns how to reach a session (by uid) over the overlay; None if the overlay does not lead there from here."""


class SessionDialer(Protocol):
    """Opens connections into sessions through their tunnels, and reports on agents: Tunnels, or a client of it."""

    async def open(self, session_uid: str, target: DialTarget, origin: str) -> Stream:
        """Opens a connection into a session, not started yet; `origin` names the client in the agent's log."""

    def on_config(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a session's uid whenever its agent is sent a new config."""

    def on_access(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a user's name ('': everyone) whenever what they may do may have changed."""

    async def unwatched(self, session_uids: Iterable[str]) -> set[str]:
        """The sessions whose agents are not connected, for which `on_config` does not call the listener."""


class AgentsElsewhere(Protocol):
    """The agents that are connected to other servers of the database."""

    async def dial(
        self, session_uid: str, target: DialTarget, origin: str, outgoing: AsyncIterator[Frame]
    ) -> AsyncGenerator[Frame, None] | None:
        """Opens a connection into a session through the server that has its agent; None if none has it.

        Exchanges frames as with the agent itself. Raises the errors of Tunnels.open, and Unavailable for a server that
        does not answer.
        """


class SnapshotBrowser(Protocol):
    """Opens connections to SFTP servers that show snapshots."""

    async def browse(self, session: str, user: str) -> Stream:
        """Opens one for a session (NAME.OWNER) as a user may see it, not started yet. Raises NetvpsError."""


class Browse(Protocol):
    """Shows snapshots over SFTP."""

    def __call__(
        self, user: str, session: str, incoming: AsyncIterator[bytes]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The answers to what comes in, for a session (NAME.OWNER) as a user may see it. Raises NetvpsError."""


class Configs(Protocol):
    """Provides the configurations of agents."""

    def configs(self, session_uid: str, epoch: int, host_key: str) -> AsyncGenerator[AgentConfig, None]:
        """Yields the current config, and each later one. Raises NotFound when that epoch is over."""


class AgentReports(Protocol):
    """Takes what agents report of their sessions, and serves what programs in them ask for."""

    def connected(self, session_uid: str) -> None:
        """Called when an agent connects, which has reported nothing yet."""

    def report(self, session_uid: str, activity: Activity) -> None:
        """Called with each report."""

    def served(self, session_uid: str, streams: int) -> None:
        """Called with each change of the number of open HTTP connections into a session that keep it awake."""

    def disconnected(self, session_uid: str) -> None:
        """Called when it is not connected any more."""

    async def serve(self, session_uid: str, epoch: int, request: SelfService) -> str:
        """Does what a program in the session asks for, and returns the answer for people. Raises NetvpsError."""


class Certifier(Protocol):
    """Signs the certificates of the gateway's own logins to agents."""

    async def certify(self, grant: Grant, public_key: str) -> str:
        """A user certificate (OpenSSH form, three minutes) for the session and Unix user of the grant."""


class Waker(Protocol):
    """Wakes sessions that sleep."""

    async def wake(self, session_uid: str, actor: str, kind: LoginKind) -> None:
        """Resumes or starts a session, on behalf of a user, or of a key, that may log in to it.

        Returns at once. Raises WrongState if a login of that kind does not wake it, Unavailable, Exhausted.
        """

    async def look(self, session_uid: str) -> SessionRef:
        """The present state of a session. Raises NotFound."""


class Authorizer(Certifier, Waker, Protocol):
    """Authorises SSH logins."""

    async def authorize(self, login: SshLogin, fingerprint: str) -> Grant:
        """The login that a key gets. Raises NotFound or NotPermitted, which clients cannot distinguish."""

    async def authorize_user(self, login: SshLogin, user_name: str) -> Grant:
        """The login that a user with a verified certificate gets. Raises NotFound, NotPermitted."""


class Tickets(Protocol):
    """Redeems the tickets of `netvps ssh-proxy`."""

    async def redeem(self, ticket: str) -> Admitted:
        """What a ticket is for; it is used up. Raises NotPermitted, Unavailable."""


class Connection(Protocol):
    """A client's connection, as the gateway has it: a login, or one of `netvps ssh-proxy`."""

    ticket: Ticket
    """Identifies it to the listener until it is authenticated."""
    address: str
    origin: str
    """The client's IP address, and with its port."""
    user_name: str
    """The login name; '' if there is none."""

    @property
    def fingerprint(self) -> str:
        """Of the key that was checked last; '' if none was."""

    @property
    def grant(self) -> Grant:
        """What the client may do. Raises RuntimeError while it is not authenticated."""

    @property
    def sessions(self) -> set[str]:
        """Uids of the sessions that it leads to."""

    async def review(self) -> None:
        """Ends it if the client may not use it any more."""

    def end(self, reason: str) -> None:
        """Ends it with a reason for the client."""

    def abort(self) -> None:
        """Closes it immediately."""


class Registry(Protocol):
    """The SSH gateway as a connection uses it: it counts connections and limits them."""

    def reason_to_refuse(self, grant: Grant) -> str | None:
        """Why one more connection is not admitted now; None if it is."""

    def logged_in(self, connection: Connection) -> None:
        """Called when the login is complete."""

    def count_channel(self, grant: Grant, change: int) -> None:
        """Counts a channel into a session like a connection to it."""

    def refused(self, connection: Connection, outcome: Outcome, reason: str) -> None:
        """Called when the connection ended before the login was complete; `reason` is '' if nothing is to be logged."""

    def ended(self, connection: Connection) -> None:
        """Called last, in either case."""

    @property
    def audit(self) -> Callable[[AuditEvent], None]:
        """Takes events for the audit log."""


class PortDialer(Protocol):
    """Opens connections to ports of sessions."""

    async def open_port(self, session_uid: str, port: int, origin: str, *, counted: bool) -> Stream:
        """Opens one, not started yet; `origin` names the client in the agent's log.

        Raises Unavailable, with the reason NOTHING_LISTENS if nothing listens on that port, and Exhausted. Only one
        that is `counted` keeps the session awake.
        """


class Visitors(Waker, Protocol):
    """Decides about HTTP requests, and logs browsers in: services.http.visits.Visits, or a client of it."""

    async def visit(self, host: str, cookie: str, api_key: str) -> AdmittedRequest:
        """Admits a request at a host. Raises Unauthenticated, NotFound, NotPermitted."""

    async def log_in(self, api_key: str) -> str:
        """The cookie of the host of logins for an API key. Raises Unauthenticated."""

    async def user_of(self, cookie: str) -> str:
        """The user of a cookie of the host of logins. Raises Unauthenticated."""

    async def code(self, cookie: str, host: str) -> str:
        """A code for one login at a host. Raises Unauthenticated, NotFound."""

    async def enter(self, host: str, code: str) -> str:
        """The cookie of a host for a code. Raises Unauthenticated."""

    async def enter_by_link(self, host: str, sealed: str) -> str:
        """The cookie of a host for the secret of a link. Raises Unauthenticated."""

    def on_session(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a session's uid ('': all) whenever it changed."""

    async def is_served(self, host: str) -> bool:
        """Whether something is served at a host now."""

    def on_urls(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a session's uid ('': all) whenever who may open its ports may have changed."""

    def on_access(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a user's name ('': everyone) whenever what they may do may have changed."""
