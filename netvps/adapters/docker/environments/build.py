"""Builds images from a Dockerfile and its context, with the engine's classic builder.

The context comes as a tar stream of someone else. It is stored in a file without a name, checked, and only then given
to the engine. The end of the iteration ends the build.
"""

from __future__ import annotations

import asyncio
import re
import tarfile
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

import docker.auth
import docker.errors
import docker.utils
from docker.types import CancellableStream

from netvps.adapters.docker.client import Answer, Api, Docker, disk_free, guarded
from netvps.adapters.docker.errors import LIBRARY_ERRORS, DiskFull, ImageBuildFailed, ImageNotFound, mapped
from netvps.adapters.docker.files.images import Images, PulledLayers
from netvps.adapters.docker.stream import iterate
from netvps.domain.image.image import ImageProgress
from netvps.domain.image.work import BuildImage, ImageLog
from netvps.errors import Exhausted, InvalidInput
from netvps.tasks import until

BUILD_SECONDS: Final = 3600.0
MAX_CONTEXT: Final = 2 << 30
"""Bytes of a context."""
_MAX_FILES: Final = 200_000
_PIECE: Final = 1 << 20
_SPARE: Final = 256 << 20
_MAX_DOCKERFILE: Final = 1 << 20
_FROM: Final = re.compile(
    rb"^[ \t]*(?:FROM[ \t]+(?:--\S+[ \t]+)*|COPY[ \t]+--from=)(?P<image>\S+)", re.IGNORECASE | re.MULTILINE
)
_STOPPED: Final = "its connection to the engine broke"


class Builds:
    """Builds on an engine; contexts are kept in `folder` meanwhile."""

    def __init__(self, docker: Docker, images: Images, folder: Path) -> None:
        self._docker = docker
        self._images = images
        self._folder = folder

    async def build(
        self, work: BuildImage, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[ImageLog | ImageProgress, None]:
        """Builds an image and gives it its name; yields what the builder says, and progress.

        Raises InvalidInput for a context that is damaged or not safe, Exhausted, ImageBuildFailed with the builder's
        words, also after BUILD_SECONDS.
        """
        deadline = asyncio.get_running_loop().time() + BUILD_SECONDS
        before = await self._id(work.reference)
        with await asyncio.to_thread(self._spool) as context:
            try:
                async with aclosing(until(deadline, self._received(incoming, context))) as steps:
                    async for step in steps:
                        yield step
                dockerfile = await asyncio.to_thread(check_context, context, work.dockerfile)
                logins = await self._logins(dockerfile)
                async with aclosing(until(deadline, self._built(work, context, logins))) as said:
                    async for words in said:
                        yield words
            except TimeoutError:
                raise ImageBuildFailed(f"image {work.reference} was not built within {BUILD_SECONDS:.0f} s") from None
        made = await self._id(work.reference)
        if made is None:
            raise ImageBuildFailed(f"image {work.reference} was not built: {_STOPPED}; try again")
        if before and before != made:
            await self._drop(before)

    def _spool(self) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.TemporaryFile(dir=self._folder)

    async def _received(
        self, incoming: AsyncIterator[bytes], context: BinaryIO
    ) -> AsyncGenerator[ImageProgress, None]:  # fmt: skip
        """Stores the context; yields progress. Raises Exhausted, DiskFull."""
        size, pending = 0, bytearray()
        async for piece in incoming:
            size += len(piece)
            if size > MAX_CONTEXT:
                raise Exhausted(
                    f"the context has more than {MAX_CONTEXT >> 20} MiB: leave out what the build does not need, in a"
                    " file .dockerignore"
                )
            pending += piece
            if len(pending) >= _PIECE:
                await asyncio.to_thread(self._write, context, bytes(pending))
                pending.clear()
                yield ImageProgress("receiving the context", size)
        await asyncio.to_thread(self._write, context, bytes(pending))

    def _write(self, context: BinaryIO, data: bytes) -> None:
        if (disk_free(str(self._folder)) or _SPARE) < _SPARE:
            raise DiskFull("the context does not fit: the disk of the runner's folder is full")
        context.write(data)

    async def _logins(self, dockerfile: bytes) -> dict[str, dict[str, str]]:
        """The logins to the registries that a Dockerfile names images of."""
        hosts: set[str] = set()
        for found in _FROM.finditer(dockerfile):
            with suppress(docker.errors.DockerException, ValueError):
                repository = docker.utils.parse_repository_tag(found["image"].decode())[0]
                hosts.add(docker.auth.resolve_repository_name(repository)[0])
        logins = {host: await self._images.login(host) for host in sorted(hosts)}
        return {host: login for host, login in logins.items() if login}

    async def _built(
        self, work: BuildImage, context: BinaryIO, logins: dict[str, dict[str, str]]
    ) -> AsyncGenerator[ImageLog | ImageProgress, None]:
        layers, last = PulledLayers("pulling the base image"), None
        try:
            stream = iterate(lambda: self._open(work, context, logins), f"build {work.reference}")
            async with aclosing(stream) as items:
                async for item in items:
                    if "error" in item:
                        raise ImageBuildFailed(f"image {work.reference} was not built: {_one_line(item['error'])}")
                    if words := str(item.get("stream") or ""):
                        yield ImageLog(words)
                    layers.add(item)
                    if (step := layers.progress(0.0)) != last and step.total_layers:
                        last = step
                        yield step
        except LIBRARY_ERRORS as error:
            raise mapped(error, f"build of image {work.reference}", ImageBuildFailed) from error

    def _open(
        self, work: BuildImage, context: BinaryIO, logins: dict[str, dict[str, str]]
    ) -> CancellableStream[Answer]:  # fmt: skip
        """Opens a build by the library's private API: its public `build` cannot be cancelled."""
        api: Any = guarded("the engine", lambda: self._docker.stream_api)
        context.seek(0)
        headers = {"Content-Type": "application/x-tar"}
        if logins:
            headers["X-Registry-Config"] = docker.auth.encode_header(logins).decode()
        response = api._post(  # noqa: SLF001
            api._url("/build"),  # noqa: SLF001
            data=context,
            params={"t": work.reference, "dockerfile": work.dockerfile, "rm": True, "forcerm": True},
            headers=headers,
            stream=True,
        )
        api._raise_for_status(response)  # noqa: SLF001
        items: Iterator[Answer] = api._stream_helper(response, decode=True)  # noqa: SLF001
        return CancellableStream(items, response)

    async def _id(self, reference: str) -> str | None:
        """The id of an image; None if it is not present."""
        try:
            return str(await self._docker.call(reference, lambda api: api.inspect_image(reference)["Id"]))
        except ImageNotFound:
            return None

    async def _drop(self, image_id: str) -> None:
        """Removes the image that had the name before, unless it has another name, or something uses it."""

        def drop(api: Api) -> None:
            with suppress(docker.errors.APIError):
                if not api.inspect_image(image_id).get("RepoTags"):
                    api.remove_image(image_id)

        await self._docker.call_slowly(image_id, drop)


def check_context(context: BinaryIO, dockerfile: str) -> bytes:
    """Checks the tar archive of a context; returns the Dockerfile. Raises InvalidInput if it is damaged or not safe."""
    context.seek(0)
    found: bytes | None = None
    wanted = PurePosixPath(dockerfile)
    try:
        with tarfile.open(fileobj=context, mode="r:") as archive:
            for number, member in enumerate(archive):
                _check_member(member)
                if number >= _MAX_FILES:
                    raise InvalidInput.of("context", f"it has more than {_MAX_FILES} files")
                if PurePosixPath(member.name) == wanted and member.isfile() and member.size <= _MAX_DOCKERFILE:
                    file = archive.extractfile(member)
                    found = file.read() if file else None
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InvalidInput.of("context", f"it is no complete tar archive ({error}): send it again") from None
    if found is None:
        raise InvalidInput.of("dockerfile", f"the context has no file {dockerfile} of up to 1 MiB")
    return found


def _check_member(member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidInput.of("context", f"{member.name!a} leads out of it: only paths below its folder are allowed")
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise InvalidInput.of("context", f"{member.name!a} is neither a file nor a folder nor a link")


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:500]
