"""Listens for HTTP requests to sessions, limits connections, and logs each request."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.domain.access.admission import source_of
from netvps.gateway.http.answers import explained
from netvps.gateway.http.exchange import Exchange
from netvps.tasks import Tasks
from netvps.timing import observe_duration

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection

    from netvps.gateway.http.head import RequestHead
    from netvps.gateway.http.requests import Requests

log = structlog.get_logger()

CONNECTIONS: Final = 20_000
CONNECTIONS_PER_SOURCE: Final = 512
"""Not of this machine and of listed proxies, from which all people come."""
BACKLOG: Final = 1024
_HANDSHAKE_SECONDS: Final = 10.0
_OPTIONS: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


class HttpServer:
    """An async context manager that serves on a listening socket. Its end breaks what is open: call `stop` before."""

    def __init__(
        self,
        requests: Callable[[Tasks, Collection[Exchange]], Requests],
        *,
        sock: socket.socket,
        tls: ssl.SSLContext | None = None,
        proxies: Collection[str] = (),
    ) -> None:
        """`proxies` are IP addresses of proxies, which may open any number of connections."""
        for level, option, value in _OPTIONS:  # which connections inherit
            with suppress(OSError):
                sock.setsockopt(level, option, value)
        self._sock, self._tls = sock, tls
        self._proxies = proxies
        self._tasks = Tasks()
        self._open: dict[Exchange, float] = {}
        """When each began."""
        self._requests = requests(self._tasks, self._open)
        self._users: dict[Exchange, str] = {}
        self._sources: Counter[str] = Counter()
        self._empty = asyncio.Event()
        self._empty.set()
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._open)

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._sock.getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        handshake = _HANDSHAKE_SECONDS if self._tls else None
        self._server = await loop.create_server(
            self._exchange, sock=self._sock, ssl=self._tls, ssl_handshake_timeout=handshake, backlog=BACKLOG
        )
        log.info("http gateway listens", address=self._sock.getsockname()[0], port=self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(0)

    async def stop(self, grace: float) -> None:
        """Stops accepting, waits at most `grace` seconds for open requests, and ends the rest."""
        if self._server is not None:
            self._server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._empty.wait()
        for exchange in [*self._open]:
            exchange.abort()
        self._requests.stop()
        await self._tasks.__aexit__()

    # Called by exchanges

    def arrived(self, exchange: Exchange) -> str | None:
        """Counts a new connection; returns why it is not served, if it is not."""
        self._open[exchange] = time.monotonic()
        self._empty.clear()
        source = self._source(exchange)
        self._sources[source] += 1
        if len(self._open) > CONNECTIONS:
            return "too many connections are open"
        if source and self._sources[source] > CONNECTIONS_PER_SOURCE:
            return f"{CONNECTIONS_PER_SOURCE} connections from your address are open"
        return None

    def started(self, exchange: Exchange, head: RequestHead) -> None:
        """Serves a request."""
        self._tasks.start(self._serve(exchange, head), name=f"request to {head.host}")

    def ended(self, exchange: Exchange) -> None:
        """Forgets a connection, and logs its request."""
        began = self._open.pop(exchange, None)
        if began is None:
            return
        source = self._source(exchange)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        if not self._open:
            self._empty.set()
        user, seconds = self._users.pop(exchange, ""), time.monotonic() - began
        if exchange.head is not None:
            observe_duration("http_request", f"{exchange.status // 100}xx" if exchange.status else "broken", seconds)
            log.info(
                "http request",
                origin=exchange.peer,
                method=exchange.head.method,
                host=exchange.head.host[:255],
                path=exchange.head.path[:255],  # without the query, which may hold secrets
                status=exchange.status,
                user=user,
                received_bytes=exchange.received,
                sent_bytes=exchange.sent,
                seconds=round(seconds, 3),
            )

    # Internals

    def _exchange(self) -> Exchange:
        return Exchange(self, "https" if self._tls else "http")

    async def _serve(self, exchange: Exchange, head: RequestHead) -> None:
        try:
            self._users[exchange] = await self._requests.serve(exchange, head)
        except TimeoutError:
            exchange.answer(explained(head, 408, "timeout", "the request did not come in time"))
        except Exception:
            exchange.answer(explained(head, 500, "failed", "a bug of netvps; the server's log says more"))
            raise

    def _source(self, exchange: Exchange) -> str:
        """The source by which connections are limited; '' for this machine and proxies."""
        if exchange.peer in self._proxies:
            return ""
        return _source_of(exchange.peer)


@functools.lru_cache
def _source_of(peer: str) -> str:
    try:
        return "" if ipaddress.ip_address(peer).is_loopback else source_of(peer)
    except ValueError:
        return ""
