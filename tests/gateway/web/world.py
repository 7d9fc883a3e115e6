"""Pages with a server that is not there: accounts, sessions and the clock are the test's; the app obeys keys."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp

from netvps.domain.session.exec import ExecStart, Exit, FromCommand, Stdin, Stdout, TerminalSize, ToCommand
from netvps.errors import NetvpsError, Unauthenticated
from netvps.gateway.tui.apps import TerminalApps
from netvps.gateway.web.logins import Logins
from netvps.gateway.web.server import COOKIE, WebServer
from netvps.gateway.web.site import Site, site
from tests.support.patience import PATIENCE

FAKE = (sys.executable, str(Path(__file__).parents[1] / "tui/fake_ui.py"))
ANN, BOB = (f"nv_{'a' * 12}_{letter * 64}" for letter in "12")


class FakeClock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeAccount:
    """A person; `exec` runs a shell that says what it gets."""

    world: FakeAccounts
    user: str
    credential: str
    closed: bool = False

    async def check(self) -> None:
        self.world.refuse(self.credential)

    async def exec(self, start: ExecStart, incoming: AsyncIterator[ToCommand]) -> AsyncGenerator[FromCommand, None]:
        self.world.started.append(start)
        if self.world.exec_error:
            raise self.world.exec_error
        yield Stdout(b"welcome\r\n")
        async for message in incoming:
            match message:
                case TerminalSize(columns, rows):
                    yield Stdout(f"size={columns}x{rows}\r\n".encode())
                case Stdin(b"flood"):
                    while True:
                        self.world.flooded += 65536
                        yield Stdout(b"y" * 65536)
                case Stdin(b"stuck"):
                    await asyncio.Event().wait()
                case Stdin(b"exit"):
                    yield Exit(0)
                    return
                case Stdin(data):
                    yield Stdout(b"got " + data + b"\r\n")

    async def close(self) -> None:
        self.closed = True


@dataclass
class FakeAccounts:
    """Who has which key."""

    keys: dict[str, str] = field(default_factory=lambda: {ANN: "ann", BOB: "bob"})
    error: NetvpsError | None = None
    exec_error: NetvpsError | None = None
    made: list[FakeAccount] = field(default_factory=list)
    started: list[ExecStart] = field(default_factory=list)
    flooded: int = 0

    def refuse(self, key: str) -> None:
        if self.error:
            raise self.error
        if key not in self.keys:
            raise Unauthenticated("this API key is unknown, expired or revoked")

    async def of_key(self, api_key: str) -> FakeAccount:
        self.refuse(api_key)
        self.made.append(FakeAccount(self, self.keys[api_key], api_key))
        return self.made[-1]

    async def own(self) -> FakeAccount:
        return await self.of_key(ANN)


@dataclass
class World:
    """A running server, and what it stands on."""

    url: str
    accounts: FakeAccounts
    clock: FakeClock
    logins: Logins
    server: WebServer
    apps: TerminalApps
    site: Site
    folder: Path

    def person(self) -> Person:
        return Person(self)


class Person:
    """A browser, without one: cookies, and the headers that browsers send. An async context manager."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cookie = ""

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    def headers(self, **more: str) -> dict[str, str]:
        cookie = {"Cookie": f"{COOKIE}={self.cookie}"} if self.cookie else {}
        given = {"origin": self.world.url} | cookie | more
        return {name.replace("_", "-"): value for name, value in given.items() if value}

    async def get(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        async with self.http.get(f"{self.world.url}{path}", headers=self.headers(**headers)) as answer:
            await answer.read()
            return answer

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        sent = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with self.http.post(f"{self.world.url}{path}", headers=self.headers(**headers), **sent) as answer:
            if COOKIE in answer.cookies:
                self.cookie = answer.cookies[COOKIE].value
                self.morsel = answer.cookies[COOKIE]
            found = await answer.json()
            return answer.status, found

    async def log_in(self, key: str = ANN) -> None:
        status, _ = await self.post("/login", {"key": key})
        assert status == 200

    async def terminal(self, first: Any = {"columns": 100, "rows": 30}, **headers: str) -> Terminal:  # noqa: B006 — read only
        socket = await self.http.ws_connect(
            f"{self.world.url}/terminal", headers=self.headers(**headers), max_msg_size=0
        )
        terminal = Terminal(socket)
        if first is not None:
            await terminal.say(first)
        return terminal


class Terminal:
    """A page's terminal, as its script has it: it acknowledges what it drew."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen = b""
        self.taken = 0
        self.ended: tuple[int | None, str] | None = None
        self.acknowledges = True

    async def say(self, message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def press(self, keys: bytes) -> None:
        await self.socket.send_bytes(keys)

    async def read(self) -> bool:
        """Takes the next message; whether there was one."""
        message = await self.socket.receive()
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                self.seen += message.data
                if self.acknowledges:
                    await self.say({"ack": len(message.data)})
            case aiohttp.WSMsgType.TEXT:
                self.taken += json.loads(message.data)["taken"]
            case _:
                self.ended = self.socket.close_code, str(message.extra or "")
                return False
        return True

    async def until(self, text: bytes, seconds: float = PATIENCE) -> None:
        """Reads until it showed a text, and forgets all up to it."""
        try:
            async with asyncio.timeout(seconds):
                while text not in self.seen:
                    assert await self.read(), f"it ended: {self.ended}, {self.seen!r}"
        except TimeoutError:
            raise AssertionError(f"{text!r} did not come; instead {self.seen[-2000:]!r}") from None
        self.seen = self.seen.partition(text)[2]

    async def end(self, seconds: float = PATIENCE) -> tuple[int | None, str]:
        """Reads to its end: the close code and the reason."""
        async with asyncio.timeout(seconds):
            while await self.read():
                pass
        assert self.ended is not None
        return self.ended


@asynccontextmanager
async def a_world(tmp_path: Path, **options: Any) -> AsyncIterator[World]:
    """A server on loopback; `options` as for `site`."""
    accounts, clock = FakeAccounts(), FakeClock()
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    where = site("127.0.0.1", port, tls=False, **options)
    logins = Logins(accounts, clock)
    async with AsyncExitStack() as stack:
        apps = TerminalApps("unix:/none/api.sock", FAKE)
        stack.push_async_exit(apps)  # not entered: most tests need no app, and its start takes a while
        server = await stack.enter_async_context(WebServer(where, logins, apps, sock=sock, server_name="lab"))
        yield World(f"http://127.0.0.1:{port}", accounts, clock, logins, server, apps, where, tmp_path)
