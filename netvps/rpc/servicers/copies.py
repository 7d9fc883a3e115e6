"""CopyService: passes parts of snapshots and images from the runner that holds one to the runner that copies it."""

from __future__ import annotations

import random
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.api.v1 import copy_pb2 as pb
from netvps.api.v1.copy_pb2_grpc import CopyServiceServicer
from netvps.errors import Exhausted, InvalidInput, NotFound, Unavailable
from netvps.rpc.client.streams import closing
from netvps.rpc.convert.runner.copies import copy_request_from_proto, image_request_from_proto
from netvps.rpc.convert.texts import sentence
from netvps.rpc.server import identity
from netvps.rpc.server.runners.session_logs import Transfer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from netvps.domain.image.copies import ImageRequest
    from netvps.domain.snapshot.copies import CopyRequest
    from netvps.rpc.server.context import Context
    from netvps.rpc.server.runners.runner_streams import RunnerStreams
    from netvps.services.copies.copies import Copies
    from netvps.services.images.sources import ImageSources
    from netvps.services.ports import FilesCarrier

MAX_PIECE: Final = 256 * 1024
"""Maximum bytes of a part in one message."""
MAX_AT_ONCE: Final = 16
"""Maximum transfers through this server: each takes a part of its CPU and of its network."""
MAX_OF_A_RUNNER: Final = 4
"""Maximum transfers from one runner."""


class StreamedCopies:
    """Requests parts on the runners' streams, and passes them on. A slow reader slows the sender down."""

    def __init__(self, streams: RunnerStreams) -> None:
        self._streams = streams
        self._transfers: dict[str, Transfer[bytes]] = {}

    async def reachable(self, runner_uids: Collection[str]) -> list[str]:
        """Those that are connected to this server; if there are none, those that are connected to others."""
        here = [uid for uid in runner_uids if self._streams.has(uid)]
        if here or self._streams.elsewhere is None:
            return here
        return [uid for uid in runner_uids if await self._streams.elsewhere.has(uid)]

    async def read(self, runner_uid: str, request: CopyRequest | ImageRequest) -> AsyncIterator[bytes]:
        """Yields pieces of a part that a runner holds.

        Raises Unavailable if it is not connected or interrupts, NotFound if it has no such part, Exhausted if there are
        too many transfers.
        """
        of_runner = sum(each.runner_uid == runner_uid for each in self._transfers.values())
        if len(self._transfers) >= MAX_AT_ONCE or of_runner >= MAX_OF_A_RUNNER:
            raise Exhausted("too many snapshots and images are being copied: this one waits", reason="TOO_MANY_CALLS")
        stream_id = secrets.token_hex(16)
        transfer = self._transfers[stream_id] = Transfer[bytes](runner_uid, "")
        try:
            await self._streams.push(runner_uid, replace(request, stream_id=stream_id))
            await transfer.answer()
            while (piece := await transfer.get()) is not None:
                yield piece
        finally:
            del self._transfers[stream_id]
            transfer.abandon()

    async def deliver(self, runner_uid: str, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        """Receives a part from a runner. Raises NotFound for a stream that was not requested from it."""
        transfer = self._transfers.get(stream_id)
        if transfer is None or transfer.runner_uid != runner_uid or transfer.answered.is_set():
            raise NotFound("no runner waits for this part: the stream id is unknown, late or used", reason="NO_READER")
        await transfer.receive(pieces)


class CopyServicer(CopyServiceServicer):
    """Raises the errors of the service."""

    def __init__(
        self, copies: Copies, streams: StreamedCopies, *, images: ImageSources, carrier: FilesCarrier
    ) -> None:  # fmt: skip
        self._copies = copies
        self._streams = streams
        self._images = images
        self._carrier = carrier

    async def ReadCopy(self, request: pb.ReadCopyRequest, context: Context) -> AsyncIterator[pb.ReadCopyResponse]:
        parsed = copy_request_from_proto(request)
        holders = await self._copies.sources(identity.runner().uid, parsed.session, parsed.snapshot)
        meant = [holder.runner for holder in holders if request.runner_uid in {"", holder.runner}]
        able = await self._streams.reachable(meant)
        if not able:
            names = ", ".join(holder.name for holder in holders) or "none is left"
            raise Unavailable(f"no runner that holds the snapshot is connected ({names}): start one")
        source = random.choice(able)  # noqa: S311 — spreads the load
        yield pb.ReadCopyResponse(runner_uid=source)
        async with closing(self._streams.read(source, parsed)) as pieces:
            async for piece in pieces:
                yield pb.ReadCopyResponse(data=piece)

    async def ReadImage(self, request: pb.ReadImageRequest, context: Context) -> AsyncIterator[pb.ReadImageResponse]:
        parsed, reader = image_request_from_proto(request), identity.runner().uid
        await self._images.require_reader(reader, parsed.reference)
        source = request.runner_uid
        if not source:
            source = random.choice(await self._images.find(self._carrier, reader, parsed.reference)).uid  # noqa: S311 — spreads the load
        yield pb.ReadImageResponse(runner_uid=source)
        async with closing(self._streams.read(source, parsed)) as pieces:
            async for piece in pieces:
                yield pb.ReadImageResponse(data=piece)

    async def SendCopy(
        self, request_iterator: AsyncIterator[pb.SendCopyRequest], context: Context
    ) -> pb.SendCopyResponse:
        first = await anext(request_iterator, pb.SendCopyRequest())
        await self._streams.deliver(identity.runner().uid, first.stream_id, _pieces(first, request_iterator))
        return pb.SendCopyResponse()


async def _pieces(first: pb.SendCopyRequest, rest: AsyncIterator[pb.SendCopyRequest]) -> AsyncIterator[bytes]:
    message: pb.SendCopyRequest | None = first
    while message is not None:
        if message.error:
            raise NotFound(f"the runner that holds it cannot send it: {sentence(message.error)}")
        if len(message.data) > MAX_PIECE:
            raise InvalidInput.of("data", f"{len(message.data)} bytes in one message are more than {MAX_PIECE}")
        if message.data:
            yield message.data
        message = await anext(rest, None)
