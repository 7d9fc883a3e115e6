"""Keeps connections into sessions after an answer, for the next request that is let through by the same decision.

Only a connection on which nothing but heads of GET requests was sent is kept: an app that reads a body's length in
another way than the gateway does finds no body there. What arrives on an idle connection ends it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.gateway.http.reviews import Admission
    from netvps.services.http.visits import AdmittedRequest

IDLE_SECONDS: Final = 4.0
"""Less than the 5 s after which many apps end theirs. A counted one keeps its session awake as long, no longer."""
OF_SESSION: Final = 64
_ALL: Final = 1024
"""Maximum numbers of idle connections."""


@dataclass(frozen=True, slots=True)
class Use:
    """Which requests may share connections: those let through alike, and among them probes only with probes."""

    admission: Admission
    counted: bool


class KeptConnections:
    """Those of one gateway process that are idle."""

    def __init__(self) -> None:
        self._idle: defaultdict[Use, list[KeptConnection]] = defaultdict(list)
        self._of_session: Counter[str] = Counter()
        self._count = 0

    def take(self, use: Use) -> KeptConnection | None:
        """The connection that was used last, which is idle no more; None if there is none."""
        while found := self._idle.get(use):
            connection = found[-1]
            self.forget(connection)
            if not connection.is_closing():
                return connection
        return None

    def put(self, use: Use, transport: asyncio.Transport) -> None:
        """Keeps a connection whose answer is complete, or closes it."""
        session = use.admission.request.session.uid
        if transport.is_closing() or self._count >= _ALL or self._of_session[session] >= OF_SESSION:
            transport.close()
            return
        self._idle[use].append(KeptConnection(self, use, transport))
        self._of_session[session] += 1
        self._count += 1

    def close(self, concerns: Callable[[AdmittedRequest], bool]) -> None:
        """Ends idle connections that requests were let through to."""
        for use in [use for use in self._idle if concerns(use.admission.request)]:
            for connection in [*self._idle[use]]:
                connection.abort()

    def forget(self, connection: KeptConnection) -> None:
        """It is not idle any more. Idempotent."""
        if connection.expire is None:
            return
        connection.expire.cancel()
        connection.expire = None
        use = connection.use
        self._idle[use].remove(connection)
        if not self._idle[use]:
            del self._idle[use]
        session = use.admission.request.session.uid
        self._of_session[session] -= 1
        if not self._of_session[session]:
            del self._of_session[session]
        self._count -= 1


class KeptConnection(asyncio.Protocol):
    """An idle connection; a gateway.ports.Stream for the next request."""

    way: Final = "tunnel"

    def __init__(self, pool: KeptConnections, use: Use, transport: asyncio.Transport) -> None:
        self.use = use
        self.expire: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.abort)
        """None: it is not idle."""
        self._pool = pool
        self._transport = transport
        transport.set_protocol(self)
        transport.resume_reading()

    def is_closing(self) -> bool:
        """Whether it is closed or lost."""
        return self._transport.is_closing()

    def start(self, protocol: asyncio.Protocol) -> None:
        """Connects it to the protocol of the next request."""
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    def abort(self) -> None:
        """Ends it immediately. Idempotent."""
        self._pool.forget(self)
        self._transport.abort()

    def other_way(self) -> bool:
        """False: it is a connection, not a route."""
        return False

    # Callbacks of the transport, while it is idle

    def data_received(self, _data: bytes) -> None:
        """The app sends what was not asked for."""
        self.abort()

    def eof_received(self) -> None:
        """The app ends it."""
        self.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        """It broke."""
        self._pool.forget(self)
