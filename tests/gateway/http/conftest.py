"""An HTTP gateway with a fake control plane, in front of apps that are sockets of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import pytest

from netvps.domain.http.site import Site
from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginEffect, LoginKind
from netvps.domain.tunnel import NOTHING_LISTENS
from netvps.errors import NotFound, Unauthenticated, Unavailable
from netvps.gateway.http.requests import Requests
from netvps.gateway.http.server import HttpServer
from netvps.services.access.logins import SessionRef
from netvps.services.http.visits import LINK_ENDED, AdmittedRequest
from tests.support.patience import PATIENCE

SITE = Site.parse("http://localhost:7481", "alice")
ALICE, BOB = "8080--dev1.localhost", "8080--dev1--bob.localhost"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class TcpStream:
    """A connection into a session, as a dialer returns it."""

    way: Literal["overlay", "tunnel"] = "tunnel"

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def start(self, protocol: asyncio.Protocol) -> None:
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        self._transport.resume_reading()

    def abort(self) -> None:
        self._transport.abort()

    def other_way(self) -> bool:
        return False


@dataclass
class FakePlane:
    """One session dev1 of alice and one of bob; who sends the cookie or the key "alice" is alice."""

    states: dict[str, SessionRef] = field(
        default_factory=lambda: {
            owner: SessionRef(f"uid-{owner}", "dev1", owner, SessionState.RUNNING) for owner in ("alice", "bob")
        }
    )
    apps: dict[str, int] = field(default_factory=dict)
    """Port of a session's app on this machine, by its uid; without one, nothing listens."""
    dials: list[tuple[str, int, bool]] = field(default_factory=list)
    wakes: list[tuple[str, str, LoginKind]] = field(default_factory=list)
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    session_listeners: list[Callable[[str], None]] = field(default_factory=list)
    asked: int = 0
    """Number of visits."""
    url_listeners: list[Callable[[str], None]] = field(default_factory=list)
    public: set[str] = field(default_factory=set)
    """Hosts that anyone may open."""
    looks: asyncio.Event = field(default_factory=asyncio.Event)
    """A session that is being woken runs once it is set."""

    def on_access(self, listener: Callable[[str], None]) -> None:
        self.listeners.append(listener)

    def on_urls(self, listener: Callable[[str], None]) -> None:
        self.url_listeners.append(listener)

    def on_session(self, listener: Callable[[str], None]) -> None:
        self.session_listeners.append(listener)

    async def is_served(self, host: str) -> bool:
        return host == "dev1.localhost"

    async def enter_by_link(self, host: str, sealed: str) -> str:
        if sealed != f"secret of {host}":
            raise Unauthenticated("this link has ended", reason=LINK_ENDED)
        return "link-1"

    async def visit(self, host: str, cookie: str, api_key: str) -> AdmittedRequest:
        self.asked += 1
        user = cookie or api_key
        place = SITE.place_of(host)
        if host in self.public and place is not None:
            return AdmittedRequest(self.states[place.session.owner], place.port, "")
        if place is None:
            raise NotFound(f"nothing is served at {host}")
        if user not in self.states:
            raise Unauthenticated("log in first", reason="LOG_IN")
        if place.session.owner != user:
            raise NotFound(f"nothing is served at {host}")
        return AdmittedRequest(self.states[user], place.port, user)

    async def log_in(self, api_key: str) -> str:
        if api_key not in self.states:
            raise Unauthenticated("this API key is unknown")
        return f"login-{api_key}"

    async def user_of(self, cookie: str) -> str:
        if not cookie.startswith("login-"):
            raise Unauthenticated("log in first", reason="LOG_IN")
        return cookie.removeprefix("login-")

    async def code(self, cookie: str, host: str) -> str:
        if SITE.place_of(host) is None:
            raise NotFound(f"nothing is served at {host}")
        return f"{host}/{await self.user_of(cookie)}"

    async def enter(self, host: str, code: str) -> str:
        where, _, user = code.partition("/")
        if where != host:
            raise Unauthenticated("this link was used already", reason="LOG_IN")
        return user

    async def wake(self, session_uid: str, actor: str, kind: LoginKind) -> None:
        self.wakes.append((session_uid, actor, kind))

    async def look(self, session_uid: str) -> SessionRef:
        found = next(each for each in self.states.values() if each.uid == session_uid)
        if not self.looks.is_set():
            return replace(found, state=SessionState.STARTING, effect=LoginEffect.WAIT, message="starting")
        self.states[found.owner] = replace(found, state=SessionState.RUNNING, effect=LoginEffect.NONE)
        return self.states[found.owner]

    async def open_port(self, session_uid: str, port: int, origin: str, *, counted: bool) -> TcpStream:
        self.dials.append((session_uid, port, counted))
        if session_uid not in self.apps:
            text = "the session could not connect: connection refused; these ports listen: 3000"
            raise Unavailable(text, reason=NOTHING_LISTENS)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", self.apps[session_uid])
        transport.pause_reading()
        return TcpStream(transport)


@dataclass
class World:
    """The gateway, and what is behind it."""

    plane: FakePlane
    server: HttpServer
    stack: AsyncExitStack

    async def app(self, handler: Handler, owner: str = "alice") -> None:
        """Serves with a handler in the session of an owner."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.stack.callback(server.close)
        self.plane.apps[f"uid-{owner}"] = server.sockets[0].getsockname()[1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        self.stack.callback(writer.close)
        return reader, writer

    async def send(self, data: bytes, *, eof: bool = False) -> bytes:
        """Sends bytes, and returns all that comes back."""
        reader, writer = await self.connect()
        writer.write(data)
        if eof:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE):
            return await reader.read()

    async def get(
        self, path: str = "/", host: str = ALICE, *headers: str, user: str = "alice", method: str = "GET"
    ) -> str:
        """A request, with a user's cookie if they are not ''."""
        cookie = [f"Cookie: a=b; netvps={user}"] if user else []
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:7481", *cookie, *headers]
        return (await self.send("\r\n".join([*lines, "", ""]).encode())).decode()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    plane = FakePlane()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(HttpServer(partial(Requests, plane, plane, SITE), sock=sock))
        yield World(plane, server, stack)


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """The head of a request, as an app got it."""
    return await reader.readuntil(b"\r\n\r\n")
