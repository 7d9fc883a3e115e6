"""Answers requests about images, a few at a time, with progress at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Final

import structlog

from netvps.domain.image.image import Image, ImageProgress
from netvps.domain.image.work import (
    BootstrapImage,
    BuildImage,
    DeleteImage,
    ImageAnswer,
    ImageLog,
    ImageWork,
    ListImages,
    PublishImage,
    PullImage,
)
from netvps.errors import Exhausted, NetvpsError, WrongState
from netvps.runner.ports import Environments, Link

_MAX_QUICK: Final = 8
_MAX_LONG: Final = 4
_PER_MESSAGE: Final = 16
"""Images in one message of a list."""
EVERY_SECONDS: Final = 1.0
Step = Image | ImageProgress | ImageLog
log = structlog.get_logger()


class ImageRequests:
    """Serves requests with the images of an engine; None if no sessions run here."""

    def __init__(self, link: Link, environments: Environments | None) -> None:
        self._link = link
        self._environments = environments
        self.busy = {"quick": 0, "long": 0}
        """Number of requests that are being answered: those that only look or remove, and those that make images."""

    async def serve(self, stream_id: str, work: ImageWork) -> None:
        """Answers one request. Never raises a NetvpsError: the caller gets it."""
        try:
            await self._link.carry_files(stream_id, partial(self._answers, work))
        except NetvpsError as error:
            log.info("answer about images not sent", error=error.message)

    async def _answers(self, work: ImageWork, incoming: AsyncIterator[bytes]) -> AsyncGenerator[ImageAnswer, None]:
        if self._environments is None:
            raise WrongState("this runner runs no sessions")
        kind, limit = ("quick", _MAX_QUICK) if isinstance(work, ListImages | DeleteImage) else ("long", _MAX_LONG)
        if self.busy[kind] >= limit:
            raise Exhausted(f"this runner works on {limit} requests for images already; try again in a minute")
        self.busy[kind] += 1
        try:
            match work:
                case ListImages(reference):
                    images = await self._environments.list_images(reference)
                    for start in range(0, len(images), _PER_MESSAGE):
                        yield images[start : start + _PER_MESSAGE]
                case DeleteImage(reference):
                    await self._environments.delete_image(reference)
                    log.info("image removed on request", image=reference)
                case _:
                    async with aclosing(_paced(self._made(self._environments, work, incoming))) as steps:
                        async for step in steps:
                            yield step
                    log.info("image made on request", work=type(work).__name__)
        finally:
            self.busy[kind] -= 1

    def _made(
        self,
        environments: Environments,
        work: PullImage | BuildImage | BootstrapImage | PublishImage,
        incoming: AsyncIterator[bytes],
    ) -> AsyncGenerator[Step, None]:
        """Makes the image of a request."""
        match work:
            case PullImage(reference):
                return environments.pull_image(reference)
            case BuildImage():
                return environments.build_image(work, incoming)
            case BootstrapImage():
                return environments.bootstrap_image(work)
            case PublishImage():
                return environments.publish_image(work)


async def _paced(steps: AsyncGenerator[Step, None]) -> AsyncGenerator[Step, None]:
    """Leaves out progress that comes less than a second after the last."""
    clock = asyncio.get_running_loop().time
    due = clock()
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, ImageProgress):
                if clock() < due:
                    continue
                due = clock() + EVERY_SECONDS
            yield step
