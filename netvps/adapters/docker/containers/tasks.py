"""The containers of tasks (runner.task.ports.TaskEngine)."""

from __future__ import annotations

import struct
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, Protocol

import docker.errors
from docker.types import CancellableStream

from netvps.adapters.docker.errors import LIBRARY_ERRORS, ContainerNameTaken, ContainerNotFound, mapped
from netvps.adapters.docker.stream import Closable, iterate
from netvps.domain.runner.docker_names import LABEL_EPOCH, task_container_name, task_of
from netvps.domain.session.exec import Stderr
from netvps.domain.task.container import TaskContainer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from netvps.adapters.docker.client import Api, Docker
    from netvps.adapters.docker.containers.containers import Containers
    from netvps.adapters.docker.files.images import Images


_HEADER: Final = struct.Struct(">BxxxI")
"""Of a frame: the stream, and the length of its content."""
_STDERR: Final = 2


class Raw(Protocol):
    """The body of an answer."""

    def read(self, size: int) -> bytes:
        """As many bytes; fewer at the end."""


def frames(body: Raw) -> Iterator[bytes | Stderr]:
    """The frames of a log of a container without a terminal; one that is cut off at the end is left out."""
    while len(header := body.read(_HEADER.size)) == _HEADER.size:
        stream, length = _HEADER.unpack(header)
        if len(content := body.read(length)) == length:
            yield Stderr(content) if stream == _STDERR else content


class TaskContainers:
    """The containers of tasks of the runner with uid `node`."""

    def __init__(self, docker: Docker, containers: Containers, images: Images, node: str) -> None:
        self._docker = docker
        self._containers = containers
        self._images = images
        self._node = node
        self.create, self.start, self.signal = containers.create, containers.start, containers.signal

    async def find(self, task_id: str, owner: str) -> TaskContainer | None:
        """Inspects a task's container; None if there is none. Raises ContainerNameTaken if it is not this runner's."""
        name = task_container_name(task_id)

        def look(api: Api) -> TaskContainer | None:
            try:
                found = api.inspect_container(name)
            except docker.errors.NotFound:
                return None
            labels = found["Config"].get("Labels") or {}
            if task_of(name, labels, self._node) != task_id:
                raise ContainerNameTaken(f"container {name} exists and is not this runner's: remove or rename it")
            error = str(found["State"].get("Error") or "")
            return TaskContainer(self._containers.seen(found, owner), int(labels.get(LABEL_EPOCH) or 0), error)

        return await self._docker.call(f"container {name}", look)

    async def provide(self, reference: str) -> None:
        """Pulls an image if it is missing. Raises as `Images.pull`."""
        if await self._images.find(reference) is None:
            await self._images.pull(reference, lambda _line: None)
        await self._images.require_runnable(reference)

    async def logs(self, task_id: str, tail_lines: int, *, follow: bool) -> AsyncGenerator[bytes | Stderr, None]:
        """Yields what a task wrote; no `tail_lines` means all. Raises NotFound if its container is gone."""
        name = task_container_name(task_id)

        def open_stream() -> Closable[bytes | Stderr]:
            api = self._docker.stream_api
            found = api.inspect_container(name)
            if task_of(name, found["Config"].get("Labels"), self._node) != task_id:
                raise ContainerNotFound(f"logs of container {name}: it is not this runner's")
            wanted = {"stdout": 1, "stderr": 1, "follow": int(follow), "tail": tail_lines or "all"}
            url = f"{api.base_url}/v{api.api_version}/containers/{found['Id']}/logs"
            # The library's own `logs` does not say which stream a piece is of.
            response = api.get(url, params=wanted, stream=True, timeout=None)
            response.raise_for_status()
            stream: Closable[bytes | Stderr] = CancellableStream(frames(response.raw), response)
            return stream

        try:
            async with aclosing(iterate(open_stream, f"logs {task_id}")) as pieces:
                async for piece in pieces:
                    yield piece
        except LIBRARY_ERRORS as error:
            raise mapped(error, f"logs of container {name}") from error

    async def remove(self, container_id: str) -> None:
        """Removes a container, also a running one; idempotent."""
        await self._containers.remove(container_id, force=True)
