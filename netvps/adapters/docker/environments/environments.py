"""The images of this machine that sessions can be made from: lists, pulls and removes them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import docker.errors

from netvps.adapters.docker.client import Answer, Api, Docker, Work
from netvps.adapters.docker.containers.containers import parse_time
from netvps.adapters.docker.environments.build import Builds
from netvps.adapters.docker.environments.publish import Publications
from netvps.adapters.docker.errors import ContainerFailed, ImageInUse, ImageNotFound
from netvps.adapters.docker.files.debootstrap import bootstrap
from netvps.adapters.docker.files.images import Contents, Images
from netvps.domain.image.image import Image, ImageProgress
from netvps.domain.image.reference import same_reference
from netvps.domain.image.work import BootstrapImage, BuildImage, ImageLog, PublishImage
from netvps.domain.runner.docker_names import LABEL_SESSION, is_own_image, is_session_container
from netvps.errors import NetvpsError
from netvps.tasks import Tasks

_NO_NAME: Final = "<none>"
_AHEAD: Final = 8
_LOOK_SECONDS: Final = 0.5
_USED: Final = ("is using", "is being used", "dependent child")
"""The engine's words about an image that something uses."""


class Environments:
    """The images of an engine. Those of netvps's own, such as snapshots, are not among them."""

    def __init__(self, docker: Docker, images: Images, contents: Contents, folder: Path) -> None:
        """`folder` is where contexts of builds are kept meanwhile."""
        self._docker = docker
        self._images = images
        self._contents = contents
        self._builds = Builds(docker, images, folder)
        self._publications = Publications(docker, contents)

    async def list_images(self, reference: str = "") -> tuple[Image, ...]:
        """All images, once by each name, by reference; or the one with a name."""
        return await self._docker.call_slowly("images", lambda api: tuple(self._list(api, reference)))

    async def delete_image(self, reference: str) -> None:
        """Removes an image. Raises ImageNotFound, and ImageInUse if a container uses it."""
        try:
            await self._docker.call_slowly(
                f"image {reference}", lambda api: api.remove_image(reference), work=Work.REMOVAL
            )
        except ContainerFailed as error:
            if not any(words in error.message for words in _USED):
                raise
            raise ImageInUse(f"{error.message}; remove what uses it first (docker ps -a on the runner)") from None

    async def pull_image(self, reference: str) -> AsyncGenerator[Image | ImageProgress, None]:
        """Pulls an image: yields progress, then the image. Raises as Images.pull."""
        async with aclosing(self._images.pulling(reference)) as steps:
            async for step in steps:
                yield step
        yield await self.made(reference)

    async def build_image(
        self, work: BuildImage, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[Image | ImageProgress | ImageLog, None]:
        """Builds an image: yields what the builder says and progress, then the image. Raises as Builds.build."""
        async with aclosing(self._builds.build(work, incoming)) as steps:
            async for step in steps:
                yield step
        yield await self.made(work.reference)

    async def bootstrap_image(self, work: BootstrapImage) -> AsyncGenerator[Image | ImageProgress, None]:
        """Builds an environment with debootstrap: yields progress, then the image. Raises ImageBuildFailed."""
        said: asyncio.Queue[str] = asyncio.Queue(_AHEAD)
        outcome: list[str | NetvpsError] = []

        def progress(line: str) -> None:
            with suppress(asyncio.QueueFull):  # the reader is slow, and the next line says more
                said.put_nowait(line)

        async def run() -> None:
            try:
                outcome.append(await bootstrap(self._docker, work.name, progress, suite=work.suite, mirror=work.mirror))
            except NetvpsError as error:
                outcome.append(error)

        async with Tasks() as tasks:
            tasks.start(run(), name=f"bootstrap {work.name}")
            while not outcome:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        line = await said.get()
                    yield ImageProgress(line)
        if isinstance(reference := outcome[0], NetvpsError):
            raise reference
        yield await self.made(reference)

    async def publish_image(self, work: PublishImage) -> AsyncGenerator[Image | ImageProgress, None]:
        """Makes an image of a stopped session: yields progress, then the image. Raises as Publications.publish."""
        async with aclosing(self._publications.publish(work)) as steps:
            async for step in steps:
                yield step
        yield await self.made(work.reference)

    async def made(self, reference: str) -> Image:
        """The image with a name. Raises ImageNotFound."""
        found = await self.list_images(reference)
        if not found:
            raise ImageNotFound(f"image {reference} was removed again: try again")
        return found[0]

    def _list(self, api: Api, reference: str) -> Iterator[Image]:
        users = _sessions(api)
        found = sorted((name, item) for item in api.images() for name in _names(item))
        for name, item in ((name, item) for name, item in found if not reference or same_reference(name, reference)):
            try:
                content = self._contents.get(api, str(item["Id"]))
            except docker.errors.ImageNotFound:
                continue  # it was removed meanwhile
            made = parse_time(content.created) or datetime.fromtimestamp(0, UTC)
            sessions = tuple(sorted(users[content.id]))
            yield Image(name, content.id, content.size_bytes, content.architecture, made, sessions)


def _names(item: Answer) -> list[str]:
    """The names of a listed image by which a session can name it: its tags, else its digests."""
    tags = [str(name) for name in item.get("RepoTags") or () if _NO_NAME not in name]
    digests = [str(name) for name in item.get("RepoDigests") or () if _NO_NAME not in name]
    return [name for name in tags or digests if not is_own_image(name)]


def _sessions(api: Api) -> defaultdict[str, set[str]]:
    """Uids of sessions by the id of the image that their container was made from."""
    users: defaultdict[str, set[str]] = defaultdict(set)
    for item in api.containers(all=True, filters={"label": LABEL_SESSION}):
        labels = item.get("Labels") or {}
        if any(is_session_container(str(name).removeprefix("/"), labels) for name in item.get("Names") or ()):
            users[str(item["ImageID"])].add(labels[LABEL_SESSION])
    return users
