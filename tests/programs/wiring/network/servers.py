"""Several servers on one PostgreSQL in this process, and a runner in a few lines that can be connected to any."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.domain.metrics import MACHINE, Measurement, MetricsReport, MetricsRequest
from netvps.domain.overlay.peer_health import ProbeReport, ProbeRequest
from netvps.domain.runner.runner import Capacity, Heartbeat, LogRequest, RunnerHello
from netvps.domain.session.session import Assignment, SessionReport, SessionState
from netvps.domain.snapshot.exchange import FilesRequest
from netvps.errors import NetvpsError
from netvps.programs.wiring.control_plane import build
from netvps.rpc.client.client import Client, Endpoint
from netvps.rpc.client.link_client import RunnerLink, join
from netvps.settings import ServerSettings, load
from netvps.tasks import Tasks
from tests.programs.conftest import flags_of_a_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AsyncExitStack
    from typing import TypeVar

    from netvps.programs.wiring.control_plane import ControlPlane
    from netvps.rpc.client.link_client import Joined
    from netvps.rpc.convert.runner.link import FromRunner

    T = TypeVar("T")

HELLO = RunnerHello("instance-1", "0.1.0", Capacity(cpus=8, memory_bytes=16 << 30, disk_free_bytes=100 << 30))


@dataclass
class Server:
    """One of several."""

    plane: ControlPlane
    settings: ServerSettings

    async def do(self, work: Callable[[Client], T]) -> T:
        """Runs blocking work with a client of this server's socket on another thread."""

        def run() -> T:
            with Client(Endpoint(f"unix:{self.settings.paths.api_socket}")) as client:
                return work(client)

        return await asyncio.to_thread(run)

    @property
    def link(self) -> str:
        return f"127.0.0.1:{self.settings.link_port}"


async def start(stack: AsyncExitStack, database: str, count: int) -> list[Server]:
    """Servers with one CA, which the first one makes."""
    servers: list[Server] = []
    for _ in range(count):
        flags = stack.enter_context(flags_of_a_server())
        settings = load(ServerSettings, flags | {"database_url": database})
        settings.paths.prepare()
        if servers:
            shutil.copytree(servers[0].settings.paths.state / "ca", settings.paths.state / "ca")
        servers.append(Server(await stack.enter_async_context(build(settings)), settings))
    return servers


class LabRunner:
    """Reports each session as running, and answers requests: logs with LOGS, files with what comes, metrics with 1."""

    LOGS = b"said by the session"

    def __init__(self, joined: Joined, key: str) -> None:
        self._joined, self._key = joined, key

    @classmethod
    async def join(cls, server: Server) -> LabRunner:
        key = new_key()
        token = await server.do(lambda client: client.create_join_token()[0])
        return cls(await join(f"127.0.0.1:{server.settings.api_port}", token, signing_request(key), "box1"), key)

    @asynccontextmanager
    async def connected(self, server: Server) -> AsyncIterator[None]:
        """Is connected to a server during the block."""
        joined = self._joined
        async with (
            RunnerLink(server.link, joined.ca_certificate, joined.certificate, self._key) as link,
            Tasks() as tasks,
        ):
            tasks.start(self._follow(link, tasks), name="runner")
            yield

    async def _follow(self, link: RunnerLink, tasks: Tasks) -> None:
        reports: asyncio.Queue[FromRunner] = asyncio.Queue()

        async def outgoing() -> AsyncIterator[FromRunner]:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        yield await reports.get()
                        continue
                yield Heartbeat(HELLO.capacity)

        while True:
            with suppress(NetvpsError):
                async for message in link.connect(HELLO, outgoing()):
                    match message:
                        case Assignment(session_uid=uid, epoch=epoch, generation=generation):
                            reports.put_nowait(SessionReport(uid, epoch, generation, SessionState.RUNNING))
                        case LogRequest(stream_id=stream_id):
                            tasks.start(link.send_logs(stream_id, _pieces(self.LOGS)), name="logs")
                        case FilesRequest(stream_id=stream_id):
                            tasks.start(link.carry_files(stream_id, _echo), name="files")
                        case ProbeRequest(probe_id=probe_id):
                            reports.put_nowait(ProbeReport(probe_id, ()))
                        case MetricsRequest(machine=True):
                            reports.put_nowait(MetricsReport({MACHINE: Measurement(1.0, 1)}))
            await asyncio.sleep(0.05)


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _echo(incoming: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for data in incoming:
        yield data
