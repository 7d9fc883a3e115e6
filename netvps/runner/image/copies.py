"""Copies images from runner to runner: fetches those that this machine lacks, and sends its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, Generic

import structlog

from netvps.domain.image.copies import ImageRequest, MissingLayer
from netvps.domain.image.image import ImageProgress, remaining_seconds
from netvps.errors import DataLoss, Exhausted, NetvpsError
from netvps.runner.copies import MAX_SENT, RATE, paced, soon
from netvps.runner.ports import A, ImageTravel, Link
from netvps.tasks import beside

_MAX_DESCRIPTION: Final = 1 << 20
_LOOK_SECONDS: Final = 0.5
log = structlog.get_logger()


@dataclass
class _Progress:
    """How far a transfer is, and its pace."""

    reference: str
    layers: int
    total: int
    done: int = 0
    complete: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, count: int) -> None:
        """Counts bytes."""
        self.done += count

    def behind(self) -> float:
        """Seconds to wait so that the rate is not exceeded."""
        return self.done / RATE - (time.monotonic() - self.began)

    def said(self) -> ImageProgress:
        """It for people."""
        remaining = remaining_seconds(self.done, self.total, time.monotonic() - self.began)
        message = f"copying {self.reference} from another runner"
        return ImageProgress(message, self.done, self.total, self.complete, self.layers, remaining)


class ImageCopies(Generic[A]):
    """One image arrives at a time, as two may share layers. Repeating a fetch transfers only what is missing."""

    def __init__(self, images: ImageTravel[A], link: Link) -> None:
        self._images = images
        self._link = link
        self._fetching = asyncio.Lock()
        self._sending = 0

    async def send(self, request: ImageRequest) -> None:
        """Sends a part that another runner asked for."""
        try:
            async with aclosing(self._pieces(request)) as pieces:
                await self._link.send_copy(request.stream_id, pieces)
        except NetvpsError as error:
            log.info("part of an image not sent", image=request.reference, error=error.message)

    async def fetch(self, reference: str) -> AsyncGenerator[ImageProgress, None]:
        """Fetches an image from a runner that has the newest one; yields progress.

        Raises NotFound if none has it, or if this one has the newest; Unavailable, Exhausted, DataLoss, WrongState.
        """
        async with self._fetching:
            source, description = await self._description(reference)
            arrival = await self._images.arriving(reference, description)
            for all_layers in (False, True):
                layers = await self._images.missing(arrival, all_layers=all_layers)
                async with aclosing(self._layers(arrival, reference, source, layers)) as steps:
                    async for step in steps:
                        yield step
                if await self._images.finish(arrival):
                    log.info("image copied from another runner", image=reference, source=source)
                    return

    async def _layers(
        self, arrival: A, reference: str, source: str, layers: list[MissingLayer]
    ) -> AsyncGenerator[ImageProgress, None]:
        image = self._images.image_id(arrival)
        progress = _Progress(reference, len(layers), sum(layer.size - layer.have for layer in layers))
        yield progress.said()
        for layer in layers:
            request = ImageRequest("", reference, image, layer.digest, layer.have)
            async with aclosing(beside(self._layer(arrival, request, source, progress), _LOOK_SECONDS)) as looks:
                async for _ in looks:
                    yield progress.said()
            progress.complete += 1
        yield progress.said()

    async def _layer(self, arrival: A, request: ImageRequest, source: str, progress: _Progress) -> None:
        async with aclosing(paced(self._link.read_image(request, source), progress.behind)) as pieces:
            await self._images.receive(arrival, request.layer, pieces, progress.add)

    async def _description(self, reference: str) -> tuple[str, bytes]:
        """The runner to fetch from, and the description of the image there."""
        source, description = "", b""
        async with aclosing(self._link.read_image(ImageRequest("", reference), "")) as answers:
            while (answer := await soon(anext(answers, None))) is not None:
                source, description = source or answer[0], description + answer[1]
                if len(description) > _MAX_DESCRIPTION:
                    raise DataLoss(f"the description of image {reference} is too large")
        return source, description

    async def _pieces(self, request: ImageRequest) -> AsyncGenerator[bytes, None]:
        if self._sending >= MAX_SENT:
            raise Exhausted("too many images are copied from this runner: this one waits")
        self._sending += 1
        try:
            async with aclosing(self._images.read(request)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            self._sending -= 1
