"""The containers of tasks (runner.task.ports.TaskEngine)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import docker.errors

from netvps.adapters.docker.errors import ContainerNameTaken
from netvps.domain.runner.docker_names import LABEL_EPOCH, task_container_name, task_of
from netvps.domain.task.container import TaskContainer

if TYPE_CHECKING:
    from netvps.adapters.docker.client import Api, Docker
    from netvps.adapters.docker.containers.containers import Containers
    from netvps.adapters.docker.files.images import Images


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

    async def remove(self, container_id: str) -> None:
        """Removes a container, also a running one; idempotent."""
        await self._containers.remove(container_id, force=True)
