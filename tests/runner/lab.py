"""A runner on the real engine, with a link that the test holds in its hands."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.docker.containers.usage import SessionUsage
from netvps.adapters.docker.engine import DockerEngine
from netvps.domain.access.identity import AgentCredential
from netvps.domain.image.copies import ImageRequest
from netvps.domain.metrics import Measurement, MetricsReport, MetricsRequest
from netvps.domain.overlay.peer_health import ProbeReport, ProbeRequest
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.docker_names import LABEL_NODE, container_name
from netvps.domain.runner.runner import CaughtUp, Heartbeat, Lease, LogRequest, RunnerHello, Welcome
from netvps.domain.session.exec import Stderr
from netvps.domain.session.lifecycle import ENDED
from netvps.domain.session.session import Assignment, DesiredState, SessionReport, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.domain.snapshot.copies import CopyReport, CopyRequest
from netvps.domain.snapshot.exchange import FilesAnswer, FilesRequest
from netvps.domain.uid import make_uid
from netvps.errors import Unavailable
from netvps.runner.ports import Engine, FilesServer, FromRunner, ToRunner
from netvps.runner.runner import Runner
from netvps.runner.session.features import Features
from netvps.runner.settings import RunnerSettings
from netvps.tasks import Tasks

WAIT_SECONDS = 40.0


def credential(key: str = "key", days: float = 60.0) -> AgentCredential:
    """As long as a real one, and due to be renewed in so many days."""
    return AgentCredential(f"{key}\n", "c" * 800, "-----BEGIN CERTIFICATE-----\n", datetime.now(UTC) + timedelta(days))


class ScriptedLink:
    """A control plane of one runner: keeps what is wanted, notes reports, records snapshots as they come.

    `away` makes it refuse everything; `recording` False makes it never record.
    """

    def __init__(self) -> None:
        self.wanted: dict[str, Assignment] = {}
        self.reports: list[SessionReport] = []
        self.copies: list[CopyReport] = []
        self.parts: dict[str, list[bytes]] = {}
        self.probes: list[ProbeReport] = []
        self.hellos: list[RunnerHello] = []
        self.measured: dict[str, list[Measurement]] = {}
        """By session; "" is the machine."""
        self.heartbeats = 0
        self.connections = 0
        self.logs: dict[str, bytes] = {}
        self.log_errors: dict[str, str] = {}
        self.files: dict[str, list[FilesAnswer]] = {}
        self.away = False
        self.recording = True
        self.repeating = 1
        self._news = asyncio.Condition()
        self._queues: set[asyncio.Queue[ToRunner | None]] = set()

    async def connect(self, hello: RunnerHello, outgoing: AsyncIterator[FromRunner]) -> AsyncGenerator[ToRunner, None]:
        if self.away:
            raise Unavailable("the control plane is away")
        self.connections += 1
        self.hellos.append(hello)
        queue: asyncio.Queue[ToRunner | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            async with Tasks() as tasks:
                tasks.start(self._listen(outgoing), name="reports")
                yield Welcome("here", 0.2, Lease("10.0.0.0/22", "r", 1), OverlaySettings("cluster"))
                for assignment in list(self.wanted.values()):
                    yield assignment
                yield CaughtUp(1)
                while (message := await queue.get()) is not None:
                    for _ in range(self.repeating):
                        yield message
        finally:
            self._queues.discard(queue)
        raise Unavailable("the connection broke")

    async def reopen(self) -> None:
        for queue in self._queues:
            queue.put_nowait(None)

    async def agent_credential(self, session_uid: str, epoch: int) -> AgentCredential:
        if self.away:
            raise Unavailable("the control plane is away")
        return credential(f"{session_uid} {epoch}")

    async def read_copy(self, request: CopyRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        for piece in self.parts[request.snapshot]:
            yield source, piece

    async def read_image(self, request: ImageRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        for piece in self.parts[request.reference]:
            yield source, piece

    async def send_copy(self, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        raise Unavailable(f"no runner waits for {stream_id}")

    async def send_logs(self, stream_id: str, pieces: AsyncIterator[bytes | Stderr]) -> None:
        self.logs[stream_id] = b""
        try:
            async for piece in pieces:
                self.logs[stream_id] += piece.data if isinstance(piece, Stderr) else piece
                await self._tell()
        except Exception as error:
            self.log_errors[stream_id] = str(error)
        await self._tell()

    async def carry_files(self, stream_id: str, work: FilesServer) -> None:
        async def nothing() -> AsyncIterator[bytes]:
            for piece in list[bytes]():
                yield piece

        self.files[stream_id] = [answer async for answer in work(nothing())]
        await self._tell()

    def assign(self, assignment: Assignment) -> None:
        self.wanted[assignment.session_uid] = assignment
        self._send(assignment)

    def request(self, request: LogRequest | ProbeRequest | MetricsRequest | FilesRequest) -> None:
        self._send(request)

    def hang_up(self, *, away: bool = False) -> None:
        self.away = away
        for queue in self._queues:
            queue.put_nowait(None)

    async def until(self, condition: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(condition)
        except TimeoutError:
            said = "\n".join(f"{r.state} {r.generation} {r.reason} {r.message}" for r in self.reports[-12:])
            raise AssertionError(f"it did not come to that; last reports:\n{said}") from None

    async def reported(self, assignment: Assignment, state: SessionState, reason: str = "") -> SessionReport:
        """The report of this state for this generation, once it is the last one of the session."""

        def last() -> SessionReport | None:
            own = [report for report in self.reports if report.session_uid == assignment.session_uid]
            return own[-1] if own else None

        def holds() -> bool:
            seen = last()
            return seen is not None and (seen.state, seen.generation, seen.reason) == (
                state,
                assignment.generation,
                reason,
            )

        await self.until(holds)
        seen = last()
        assert seen is not None
        return seen

    async def _listen(self, outgoing: AsyncIterator[FromRunner]) -> None:
        async for item in outgoing:
            if isinstance(item, Heartbeat):
                self.heartbeats += 1
            elif isinstance(item, ProbeReport):
                self.probes.append(item)
            elif isinstance(item, MetricsReport):
                for uid, measurement in item.measurements.items():
                    self.measured.setdefault(uid, []).append(measurement)
            elif isinstance(item, CopyReport):
                self.copies.append(item)
            elif isinstance(item, SessionReport):
                self.reports.append(item)
                self._record(item)
            await self._tell()

    def _record(self, report: SessionReport) -> None:
        assignment = self.wanted.get(report.session_uid)
        if assignment is None:
            return
        if report.state is SessionState.DELETED and assignment.desired is DesiredState.DELETED:
            del self.wanted[report.session_uid]
        elif report.reason == ENDED and report.generation == assignment.generation:
            self.assign(replace(assignment, desired=DesiredState.STOPPED, generation=assignment.generation + 1))
        elif self.recording and report.snapshot and assignment.snapshot != report.snapshot:
            self.assign(replace(assignment, snapshot=report.snapshot))

    def _send(self, message: ToRunner) -> None:
        for queue in self._queues:
            queue.put_nowait(message)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


class Lab:
    """One runner's world: its folders, its link, its engine, and the means to look behind it."""

    def __init__(self, docker: Docker, folder: Path, agent: Path, image: str, overlay: str = "none") -> None:
        self.docker = docker
        self.node = f"test{secrets.token_hex(6)}"
        self.image = image
        self.link = ScriptedLink()
        self.overlay = overlay
        self.features: Features | None = None
        """What the machine has besides the engine."""
        self.copies = folder / "state/copies"
        self.engine = DockerEngine(docker, node=self.node, node_name="here", copies=self.copies, overlay=overlay)
        self.settings = RunnerSettings(
            uid=self.node,
            name="here",
            version="test",
            state_dir=folder / "state",
            run_dir=folder / "run",
            agent=agent,
            tunnel_address="127.0.0.1:9",
            look_every=1.0,
            orphan_grace=0.5,
        )
        self.settings.state_dir.mkdir()
        self.settings.run_dir.mkdir()

    @property
    def api(self) -> Api:
        return self.docker.api

    @asynccontextmanager
    async def runner(self, engine: Engine | None = None) -> AsyncIterator[Runner]:
        """A runner that runs for as long as the block; its end is that of a process: nothing is tidied up."""
        meter = SessionUsage(self.docker, self.node)
        runner = Runner(self.link, engine or self.engine, self.settings, meter=meter, features=self.features)
        async with Tasks() as tasks:
            tasks.start(runner.run(), name="runner under test")
            yield runner

    def session(self, spec: SessionSpec | None = None, *, name: str = "dev1", address: str = "") -> Assignment:
        """A new session that is to run, of the image of the test; on the overlay if it has an address."""
        uid = make_uid(time.time_ns() // 1_000_000, secrets.randbits(24))
        network = Network.DEFAULT if address else Network.NONE
        spec = spec or SessionSpec(image=self.image, network=network, stop_grace=2.0)
        return Assignment(uid, name, "ann", 1, 1, DesiredState.RUNNING, spec, None, 1, address)

    def next(self, assignment: Assignment, desired: DesiredState) -> Assignment:
        """The next generation of a session, with what is recorded by now; sent to the runner."""
        known = self.link.wanted.get(assignment.session_uid, assignment)
        following = replace(known, desired=desired, generation=known.generation + 1)
        self.link.assign(following)
        return following

    async def run_in(self, assignment: Assignment, *argv: str) -> str:
        """Runs a program in the session's container; its output."""
        name = container_name(assignment.session_uid)

        def run() -> str:
            made = self.api.exec_create(name, list(argv))
            output = bytes(self.api.exec_start(made["Id"]))
            assert self.api.exec_inspect(made["Id"])["ExitCode"] == 0, output
            return output.decode()

        return await asyncio.to_thread(run)

    async def pid(self, assignment: Assignment) -> int:
        """Of the first process of a session's container."""
        found = await asyncio.to_thread(lambda: self.api.inspect_container(container_name(assignment.session_uid)))
        return int(found["State"]["Pid"])

    async def container(self, assignment: Assignment) -> dict[str, object] | None:
        found = await asyncio.to_thread(
            lambda: self.api.containers(all=True, filters={"name": f"^/{container_name(assignment.session_uid)}$"})
        )
        return found[0] if found else None

    async def traces(self) -> list[str]:
        """Whatever there is in Docker with this runner's label."""
        filters = {"label": f"{LABEL_NODE}={self.node}"}

        def look() -> list[str]:
            volumes = self.api.volumes(filters=filters)["Volumes"] or []
            return [
                *(str(c["Names"]) for c in self.api.containers(all=True, filters=filters)),
                *(str(i["RepoTags"]) for i in self.api.images(filters=filters)),
                *(str(v["Name"]) for v in volumes),
            ]

        return await asyncio.to_thread(look)

    async def sweep(self) -> None:
        """Removes all of this runner's, whatever the test did."""
        for uid in await self.engine.owned():
            await self.engine.erase(uid)


Until = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
