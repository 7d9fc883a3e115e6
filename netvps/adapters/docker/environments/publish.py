"""Makes an environment of a stopped session: an image of one layer, with nothing of that session's identity.

Not `docker commit`: it takes the environment variables of the session and its labels along, and the layers below. The
files are exported, filtered on their way, and imported; the configuration is that of the image below.
"""

from __future__ import annotations

import asyncio
import fnmatch
import io
import os
import tarfile
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import suppress
from typing import IO, Any, Final

import docker.errors

from netvps.adapters.docker.client import Answer, Api, Docker, disk_free
from netvps.adapters.docker.errors import (
    LIBRARY_ERRORS,
    ContainerNotFound,
    DiskFull,
    DockerError,
    ImageBuildFailed,
    ImageExportFailed,
)
from netvps.adapters.docker.files.images import Contents
from netvps.adapters.docker.files.snapshots import imported
from netvps.adapters.docker.files.written import sizes
from netvps.domain.image.image import ImageProgress, remaining_seconds
from netvps.domain.image.work import PublishImage
from netvps.domain.runner.docker_names import (
    LABEL_MANAGED,
    LABEL_TYPE,
    container_name,
    environment_maker,
    is_session_container,
)
from netvps.tasks import Tasks

_LABELS: Final = {LABEL_MANAGED: "true", LABEL_TYPE: "env"}
_TAG: Final = "publish"
_PIECE: Final = 1 << 20
_LOOK_SECONDS: Final = 0.5
_SPARE: Final = 256 << 20
_TAR_END: Final = 1024
"""Bytes of zeros at the end of a tar archive; an interrupted export lacks them."""
_LEFT_OUT: Final = (
    ".dockerenv",
    ".netvps",
    ".netvps/*",
    "etc/ssh/ssh_host_*",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
)
"""Files of one machine, which two must not share; and what netvps mounts."""
_EMPTIED: Final = ("etc/machine-id",)
"""Files that are made at the first start if they are empty."""


class Publications:
    """Publishes sessions of an engine."""

    def __init__(self, docker: Docker, contents: Contents) -> None:
        self._docker = docker
        self._contents = contents

    async def publish(self, work: PublishImage) -> AsyncGenerator[ImageProgress, None]:
        """Publishes a stopped session under a name; yields progress. It has that name only once it is complete.

        Raises ContainerNotFound, ImageBuildFailed if the session is not stopped, ImageExportFailed, DiskFull.
        """
        root = await self._docker.root_dir()
        count, outcome = _Count(), list[DockerError | None]()
        what = f"environment {work.reference}"
        clock = asyncio.get_running_loop().time
        begin = clock()

        async def run() -> None:
            try:
                await self._docker.call_slowly(
                    what, lambda api: self._publish(api, work, root, count), ImageExportFailed
                )
                outcome.append(None)
            except DockerError as error:
                outcome.append(error)

        async with Tasks() as tasks:
            done = asyncio.Event()
            task = tasks.start(run(), name=what)
            task.add_done_callback(lambda _: done.set())
            try:
                while not outcome:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_SECONDS):
                            await done.wait()
                    if done.is_set() and not outcome:  # by an error that is a bug; it is in the log
                        outcome.append(ImageExportFailed(f"{what} could not be made: see the runner's log"))
                    left = remaining_seconds(count.bytes, count.total, clock() - begin)
                    yield ImageProgress("publishing", min(count.bytes, count.total), count.total, remaining=left)
            finally:
                count.given_up = True
        if outcome[0] is not None:
            raise outcome[0]

    def _publish(self, api: Api, work: PublishImage, root: str, count: _Count) -> None:
        container = _stopped(api, work.session_uid)
        count.total = int(sizes(api, container["Id"]).get("SizeRootFs") or 0)
        free = disk_free(root)
        if free is not None and count.total + _SPARE > free:
            raise DiskFull(
                f"environment {work.reference} needs {count.total >> 20} MiB, and {free >> 20} MiB are free in {root};"
                " free space (docker system df)"
            )
        below = self._contents.get(api, str(container["Image"]))
        maker = environment_maker(work.environment)
        _clean(api, maker)
        try:
            flat = _filtered(api, container["Id"], maker, count)
            helper = api.create_container(flat, name=maker, entrypoint=["/none"], labels=_LABELS, network_disabled=True)
            repository, _, tag = work.reference.rpartition(":")
            api.commit(helper["Id"], repository=repository, tag=tag, conf=_config(below.config))
        finally:
            _clean(api, maker)


class _Count:
    """How far an export is; shared with its threads."""

    def __init__(self) -> None:
        self.bytes = 0
        self.total = 0
        self.given_up = False


def _stopped(api: Api, session_uid: str) -> Answer:
    """A session's container. Raises ImageBuildFailed unless it is stopped: else its files would change meanwhile."""
    name = container_name(session_uid)
    try:
        found: Answer = api.inspect_container(name)
    except docker.errors.NotFound:
        found = {}
    if not found or not is_session_container(name, found["Config"].get("Labels")):
        raise ContainerNotFound("the session has no container here: start it once, and stop it again")
    if found["State"].get("Running") or found["State"].get("Paused"):
        raise ImageBuildFailed("the session is not stopped: stop it first, so that its files do not change meanwhile")
    return found


def _filtered(api: Api, container_id: str, repository: str, count: _Count) -> str:
    """Exports a container's files, and imports them without what is left out; returns the id of the image."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def export() -> None:
        try:
            with os.fdopen(writing, "wb") as output:
                pieces = _Pieces(api.export(container_id, chunk_size=_PIECE), count)
                copy_members(pieces, output)
                pieces.require_end()
        except BaseException as error:  # noqa: BLE001 — raised below
            failures.append(error)

    thread = threading.Thread(target=export, name="export", daemon=True)
    thread.start()
    try:
        with os.fdopen(reading, "rb") as source:
            output = api.import_image_from_stream(source, repository=repository, tag=_TAG)
    finally:
        thread.join()  # the end of the pipe ends it
    if failures:
        if isinstance(failures[0], (*LIBRARY_ERRORS, tarfile.TarError, EOFError)):
            raise ImageExportFailed(f"the files could not be exported: {failures[0]}") from failures[0]
        raise failures[0]
    return imported(output)


def copy_members(source: Any, output: IO[bytes]) -> None:
    """Copies a tar archive without files that belong to one machine only; others are emptied."""
    with (
        tarfile.open(fileobj=source, mode="r|") as before,
        tarfile.open(fileobj=output, mode="w|", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in before:
            name = member.name.removeprefix("./")
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in _LEFT_OUT):
                continue
            if name in _EMPTIED and member.isfile():
                member.size = 0
                after.addfile(member)
            else:
                after.addfile(member, before.extractfile(member) if member.isfile() else None)
            before.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all otherwise
            after.members.clear()  # type: ignore[attr-defined]


class _Pieces(io.RawIOBase):
    """Pieces as a file to read."""

    def __init__(self, pieces: Iterable[bytes], count: _Count) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._rest = b""
        self._tail = b""
        self._count = count

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            if self._count.given_up:
                raise EOFError("it was given up")
            self._count.bytes += len(piece)
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        self._tail = (self._tail + data)[-_TAR_END:]
        return data

    def require_end(self) -> None:
        """Reads the rest. Raises ImageExportFailed if the archive is incomplete."""
        while self.read(_PIECE):
            pass
        if self._tail != bytes(_TAR_END):
            raise ImageExportFailed("Docker's export of the session's files was interrupted: try again")


def _config(original: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the image below, with labels of an environment."""
    foreign = {key: value for key, value in (original.get("Labels") or {}).items() if not key.startswith("netvps.")}
    return original | {
        "Entrypoint": original.get("Entrypoint") or [],
        "Cmd": original.get("Cmd") or [],
        "Labels": foreign | _LABELS,
    }


def _clean(api: Api, maker: str) -> None:
    """Removes what builds an environment, if it is netvps's."""
    with suppress(docker.errors.NotFound):
        found = api.inspect_container(maker)
        if _LABELS.items() <= (found["Config"].get("Labels") or {}).items():
            api.remove_container(found["Id"], force=True, v=True)
    with suppress(docker.errors.NotFound):
        api.remove_image(f"{maker}:{_TAG}", force=True)
