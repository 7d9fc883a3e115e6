"""RunnerLinkService: the control plane's API for runners."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from netvps.api.v1 import link_image_pb2, link_snapshot_pb2
from netvps.api.v1 import link_pb2 as pb
from netvps.api.v1.link_pb2_grpc import RunnerLinkServiceServicer
from netvps.domain.image.reference import check_registry
from netvps.domain.metrics import MetricsReport
from netvps.domain.overlay.peer_health import ProbeReport
from netvps.domain.pieces import MAX_PIECE
from netvps.domain.runner.runner import Heartbeat
from netvps.domain.session.exec import Stderr
from netvps.domain.session.session import SessionReport
from netvps.domain.snapshot.copies import CopyReport
from netvps.domain.task.task import TaskReport
from netvps.errors import InvalidInput, NotFound, Unavailable
from netvps.rpc.client.streams import closing
from netvps.rpc.convert.registries import credential_to_proto
from netvps.rpc.convert.runner.files import answer_from_proto
from netvps.rpc.convert.runner.link import from_runner_from_proto, hello_from_proto, to_runner_to_proto
from netvps.rpc.convert.texts import sentence
from netvps.rpc.convert.times import time_to_proto
from netvps.rpc.server import identity

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from netvps.domain.runner.runner import CaughtUp, RunnerHello, Welcome
    from netvps.domain.session.session import Assignment
    from netvps.domain.snapshot.copies import CopyOrder
    from netvps.domain.task.task import TaskOrder
    from netvps.rpc.server.context import Context
    from netvps.rpc.server.runners.probes import StreamedProbes
    from netvps.rpc.server.runners.runner_metrics import StreamedMetrics
    from netvps.rpc.server.runners.runner_streams import RunnerStream, RunnerStreams
    from netvps.rpc.server.runners.session_files import StreamedFiles
    from netvps.rpc.server.runners.session_logs import StreamedLogs
    from netvps.services.copies.copies import Copies
    from netvps.services.images.registries import Registries
    from netvps.services.network.netmap import Follower, NetmapHub
    from netvps.services.runners.runners import Runners
    from netvps.services.tasks.tasks import Tasks

log = structlog.get_logger()

STALL_TIMEOUT = 30.0
"""Seconds that a runner may leave sent messages unread before its stream is closed."""


class _StreamEnd(Exception):
    """The runner closed its side of the stream."""


class LinkServicer(RunnerLinkServiceServicer):
    """Raises the errors of the services; `ca_certificate` in PEM."""

    def __init__(
        self,
        runners: Runners,
        netmap: NetmapHub,
        streams: RunnerStreams,
        logs: StreamedLogs,
        probes: StreamedProbes,
        *,
        assignments: Callable[[str], AsyncGenerator[Assignment | CopyOrder | TaskOrder | CaughtUp, None]],
        metrics: StreamedMetrics,
        files: StreamedFiles,
        copies: Copies,
        tasks: Tasks,
        registries: Registries,
        ca_certificate: str,
    ) -> None:
        self._runners = runners
        self._assignments = assignments
        self._netmap = netmap
        self._streams = streams
        self._logs = logs
        self._probes = probes
        self._metrics = metrics
        self._files = files
        self._copies = copies
        self._tasks = tasks
        self._registries = registries
        self._ca_certificate = ca_certificate

    # A coroutine that writes, not a generator, so that writes can have a timeout and the task group ends cleanly.
    async def Connect(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb.ConnectRequest], context: Context
    ) -> None:
        uid = identity.runner().uid
        hello = hello_from_proto(await anext(request_iterator, pb.ConnectRequest()))
        stream = await self._streams.enter(uid, hello.instance_id)
        structlog.contextvars.bind_contextvars(runner=uid, instance=hello.instance_id)
        try:
            welcome = await self._runners.online(uid, hello)
            log.info("runner connected", name=welcome.runner, version=hello.version)
            await self._converse(request_iterator, context, stream, welcome, hello)
        finally:
            self._streams.leave(stream)
            self._metrics.stream_changed(uid)
            log.info("runner disconnected")

    async def _converse(
        self,
        incoming: AsyncIterator[pb.ConnectRequest],
        context: Context,
        stream: RunnerStream,
        welcome: Welcome,
        hello: RunnerHello,
    ) -> None:
        wire = _Wire(context)
        netmap = self._netmap.follow(stream.runner_uid, hello.netmap_generation)
        try:
            async with asyncio.TaskGroup() as group:
                await wire.send(to_runner_to_proto(welcome))
                self._metrics.stream_changed(stream.runner_uid)
                group.create_task(self._listen(stream, incoming, netmap))
                group.create_task(self._assign(stream, wire))
                group.create_task(_send_netmap(netmap, wire))
                group.create_task(_push(stream, wire))
                group.create_task(_end(stream, wire))
        except ExceptionGroup as ends:
            _settle(ends.exceptions[0])

    async def _listen(self, stream: RunnerStream, incoming: AsyncIterator[pb.ConnectRequest], netmap: Follower) -> None:
        async for message in incoming:
            self._streams.hear(stream)
            seen = from_runner_from_proto(message)
            match seen:
                case Heartbeat():
                    netmap.heard(seen.netmap_generation, seen.netmap_digest)
                    await self._runners.heartbeat(stream.runner_uid, seen)
                case SessionReport():
                    await self._runners.report(stream.runner_uid, seen)
                case ProbeReport():
                    self._probes.deliver(stream.runner_uid, seen)
                case MetricsReport():
                    self._metrics.deliver(stream.runner_uid, seen)
                case CopyReport():
                    await self._copies.report(stream.runner_uid, seen)
                case TaskReport():
                    await self._tasks.report(stream.runner_uid, seen)
        raise _StreamEnd

    async def _assign(self, stream: RunnerStream, wire: _Wire) -> None:
        async with closing(self._assignments(stream.runner_uid)) as assignments:
            async for assignment in assignments:
                await wire.send(to_runner_to_proto(assignment))
        raise Unavailable("the control plane has no more assignments to send: connect again")

    async def CreateBootToken(self, request: pb.CreateBootTokenRequest, context: Context) -> pb.CreateBootTokenResponse:
        token = await self._runners.boot_token(identity.runner().uid, request.session_uid, request.epoch)
        return pb.CreateBootTokenResponse(boot_token=token, ca_certificate=self._ca_certificate)

    async def GetRegistryLogin(
        self, request: link_image_pb2.GetRegistryLoginRequest, context: Context
    ) -> link_image_pb2.GetRegistryLoginResponse:
        log.info(
            "a runner asks for the login to a registry",
            runner=identity.runner().uid,
            registry=check_registry(request.host),
        )
        return credential_to_proto(await self._registries.credential(request.host))

    async def SendLogs(
        self, request_iterator: AsyncIterator[pb.SendLogsRequest], context: Context
    ) -> pb.SendLogsResponse:
        uid = identity.runner().uid
        first = await anext(request_iterator, pb.SendLogsRequest())
        await self._logs.deliver(uid, first.stream_id, _pieces(first, request_iterator))
        return pb.SendLogsResponse()

    async def CarryFiles(
        self, request_iterator: AsyncIterator[link_snapshot_pb2.CarryFilesRequest], context: Context
    ) -> AsyncIterator[link_snapshot_pb2.CarryFilesResponse]:
        uid = identity.runner().uid
        first = await anext(request_iterator, link_snapshot_pb2.CarryFilesRequest())
        answers = (answer_from_proto(message) async for message in request_iterator)
        async with closing(self._files.carry(uid, first.stream_id, answers)) as outgoing:
            async for data in outgoing:
                yield link_snapshot_pb2.CarryFilesResponse(**({"end": True} if data is None else {"data": data}))


class _Wire:
    """The sending side of a stream: one message at a time, each within STALL_TIMEOUT."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = asyncio.Lock()

    async def send(self, message: pb.ConnectResponse | bytes) -> None:
        """Sends a message, which may be encoded already."""
        async with self._lock:
            try:
                async with asyncio.timeout(STALL_TIMEOUT):
                    await self._context.write(message)
            except TimeoutError:
                # The runner counts as disconnected now. It sees this error after it has read what was sent before.
                raise Unavailable("messages were not read in time: connect again", reason="STALLED") from None


def _settle(end: Exception) -> None:
    """Raises the first error of a stream, unless the runner closed it."""
    if not isinstance(end, _StreamEnd):
        raise end


async def _push(stream: RunnerStream, wire: _Wire) -> None:
    while True:
        await wire.send(to_runner_to_proto(await stream.pushed.get()))


async def _send_netmap(netmap: Follower, wire: _Wire) -> None:
    async for message in netmap:
        await wire.send(message)


async def _end(stream: RunnerStream, wire: _Wire) -> None:
    why = await stream.ended
    await wire.send(pb.ConnectResponse(drain=pb.Drain(deadline=time_to_proto(datetime.now(UTC)))))
    raise Unavailable(why)


async def _pieces(first: pb.SendLogsRequest, rest: AsyncIterator[pb.SendLogsRequest]) -> AsyncIterator[bytes | Stderr]:
    message: pb.SendLogsRequest | None = first
    while message is not None:
        if message.error:
            raise NotFound(f"there are no logs to read: {sentence(message.error)}")
        if len(message.data) > MAX_PIECE:
            raise InvalidInput.of("data", f"{len(message.data)} bytes in one message are more than {MAX_PIECE}")
        if message.data:
            yield Stderr(message.data) if message.stderr else message.data
        message = await anext(rest, None)
