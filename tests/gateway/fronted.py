"""An agent in Python that answers dials with direct connections, and the process before the tunnel's port for it."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.adapters.ca.opening import open_ca
from netvps.gateway.ssh.listener import listen_at
from netvps.gateway.tunnel.front import Behind, Front
from netvps.process import clock
from netvps.process.agent_program import agent_program
from tests.gateway.fake_agent import FakeAgent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.adapters.ca.authority import Authority
    from netvps.domain.tunnel import DialRequest
    from netvps.gateway.tunnel.tunnels import Tunnels
    from tests.gateway.conftest import World

NAME = "control.netvps.internal"
PROTOCOL = "netvps-dial/1"


class FrontedAgent(FakeAgent):
    """Answers dials with direct connections, while it can."""

    ca: Authority
    front_port: int

    def __init__(self, tunnels: Tunnels, uid: str, port: int, front: Front, *, epoch: int = 1) -> None:
        super().__init__(tunnels, uid, port, epoch=epoch)
        self.hello = replace(self.hello, direct=True)
        self.front = front
        self.cannot = False
        """Whether it falls back to streams."""
        self.direct = 0
        """Number of direct connections."""

    async def connect_directly(
        self, dial_id: str, uri: str | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A direct connection for a dial, once it is joined."""
        context = self._context(uri or f"netvps://session/{self.hello.session_uid}/epoch/{self.hello.epoch}")
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.front_port, ssl=context, server_hostname=NAME, limit=1 << 20
        )
        try:
            writer.write(bytes([len(dial_id)]) + dial_id.encode())
            assert await reader.readexactly(1) == b"\1"
        except BaseException:
            writer.transport.abort()
            raise
        return reader, writer

    def _context(self, uri: str) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.certificate)
        context.set_alpn_protocols([PROTOCOL])
        key = new_key()
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(key + self.ca.sign_client(signing_request(key), uri, clock.now())[0])
            file.flush()
            context.load_cert_chain(file.name)
        return context

    async def _dial(self, request: DialRequest) -> None:
        if not request.direct or self.cannot:
            await super()._dial(request)
            return
        self.direct += 1
        target = await asyncio.open_connection("127.0.0.1", self.port)
        self.connections.add(target[1])
        try:
            reader, writer = await self.connect_directly(request.dial_id)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, target[1]))
                both.create_task(_copy(target[0], writer))
        except* OSError:
            pass  # one of them has left
        finally:
            self.connections.discard(target[1])
            target[1].transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copies until EOF, and closes: TLS cannot half-close here, and SSH does not need it."""
    try:
        while data := await reader.read(1 << 18):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def fronted(world: World) -> AsyncIterator[Front]:
    """Replaces the world's agent by one that answers directly."""
    with tempfile.TemporaryDirectory(prefix="nv-") as folder:
        ca = open_ca(Path(folder) / "ca", "c", clock.now, trusted=False)
        own = ca.server_certificate((NAME,))
        listening = listen_at("127.0.0.1", 0)
        port = listening.getsockname()[1]
        behind = Behind(own.certificate, own.key, ca.certificate, Path(folder) / "grpc")
        async with Front(agent_program(), listening, behind, world.tunnels) as front:
            front.serve()
            before = world.agent
            await before.__aexit__()
            agent = FrontedAgent(world.tunnels, before.hello.session_uid, before.port, front)
            agent.ca, agent.front_port = ca, port
            world.agent = agent
            async with agent:
                yield front
            world.agent = before
