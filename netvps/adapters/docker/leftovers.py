"""Finds everything that a runner created in Docker, by labels and names together (domain.runner.docker_names)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from netvps.adapters.docker.client import Answer, Api, Docker, Work
from netvps.adapters.docker.errors import ContainerNotFound
from netvps.domain.runner.docker_names import LABEL_NODE, session_of, task_of


@dataclass(frozen=True, slots=True, order=True)
class Leftover:
    """An object of a session: its kind ("container", "image" or "volume") and its Docker name. Or a task's: TASK."""

    session_uid: str
    kind: str
    name: str


TASK: Final = "task"
"""The kind of a task's container."""


class Leftovers:
    """The objects of the runner with uid `node`."""

    def __init__(self, docker: Docker, node: str) -> None:
        self._docker = docker
        self._node = node
        self._filters = {"label": f"{LABEL_NODE}={node}"}

    async def sessions(self) -> frozenset[str]:
        """Returns the uids of sessions that have a container, image or volume."""
        return frozenset(thing.session_uid for thing in await self.things() if thing.kind != TASK)

    async def things(self) -> list[Leftover]:
        """Lists all containers, images and volumes, by session or task."""
        return await self._docker.call("containers, images and volumes", self._things)

    async def mounted(self) -> frozenset[str]:
        """Returns the host paths that any container mounts, including foreign and stopped ones."""
        found = await self._docker.call("containers", lambda api: api.containers(all=True))
        return frozenset(str(mount.get("Source", "")) for one in found for mount in one.get("Mounts") or ())

    async def containers(self, session_uid: str) -> list[str]:
        """Returns the ids of a session's or task's containers: its own, and the helper of an interrupted snapshot."""
        found = await self._docker.call("containers", lambda api: list(self._containers(api)))
        return [str(one["Id"]) for thing, one in found if thing.session_uid == session_uid]

    async def remove_volumes(self, session_uid: str) -> None:
        """Removes a session's volumes."""
        for uid, name in await self._docker.call("volumes", lambda api: list(self._volumes(api))):
            if uid != session_uid:
                continue
            try:
                await self._docker.call_slowly(f"volume {name}", partial(_remove_volume, name), work=Work.REMOVAL)
            except ContainerNotFound:
                continue

    def _things(self, api: Api) -> list[Leftover]:
        return sorted(
            {
                *(thing for thing, _ in self._containers(api)),
                *(Leftover(uid, "image", name) for uid, name in self._images(api)),
                *(Leftover(uid, "volume", name) for uid, name in self._volumes(api)),
            }
        )

    def _containers(self, api: Api) -> Iterator[tuple[Leftover, Answer]]:
        for one in api.containers(all=True, filters=self._filters):
            for name in (str(name).removeprefix("/") for name in one.get("Names") or ()):
                if uid := session_of("container", name, one.get("Labels"), self._node):
                    yield Leftover(uid, "container", name), one
                elif uid := task_of(name, one.get("Labels"), self._node):
                    yield Leftover(uid, TASK, name), one

    def _images(self, api: Api) -> Iterator[tuple[str, str]]:
        for image in api.images(filters=self._filters):
            for name in image.get("RepoTags") or ():
                if uid := session_of("image", name, image.get("Labels"), self._node):
                    yield uid, name

    def _volumes(self, api: Api) -> Iterator[tuple[str, str]]:
        for volume in api.volumes(filters=self._filters).get("Volumes") or ():
            if uid := session_of("volume", volume["Name"], volume.get("Labels"), self._node):
                yield uid, volume["Name"]


def _remove_volume(name: str, api: Api) -> None:
    api.remove_volume(name)
