"""What carries a runner's label, found by that and nothing else."""

from __future__ import annotations

from functools import partial

from netvps.adapters.docker.client import Answer, Api, Docker
from netvps.adapters.docker.errors import ContainerNotFound
from netvps.domain.docker_names import LABEL_NODE, LABEL_SESSION


class Leftovers:
    """Things of the runner `node`."""

    def __init__(self, docker: Docker, node: str) -> None:
        self._docker = docker
        self._node = f"{LABEL_NODE}={node}"

    async def sessions(self) -> frozenset[str]:
        """Uids of all sessions of which there is a container, image or volume."""
        return await self._docker.call("what is ours", self._sessions)

    async def containers(self, session_uid: str) -> list[str]:
        """Ids of a session's containers: its own, and the helper of a snapshot that was broken off."""
        filters = {"label": [self._node, f"{LABEL_SESSION}={session_uid}"]}
        found = await self._docker.call("containers", lambda api: api.containers(all=True, filters=filters))
        return [str(container["Id"]) for container in found]

    async def remove_volumes(self, session_uid: str) -> None:
        """Removes a session's volumes."""
        filters = {"label": [self._node, f"{LABEL_SESSION}={session_uid}"]}
        found: Answer = await self._docker.call("volumes", lambda api: api.volumes(filters=filters))
        for volume in found.get("Volumes") or ():
            try:
                await self._docker.call_slowly(f"volume {volume['Name']}", partial(_remove_volume, volume["Name"]))
            except ContainerNotFound:
                continue

    def _sessions(self, api: Api) -> frozenset[str]:
        filters = {"label": self._node}
        things = [
            *api.containers(all=True, filters=filters),
            *api.images(filters=filters),
            *(api.volumes(filters=filters).get("Volumes") or ()),
        ]
        return frozenset(uid for thing in things if (uid := (thing.get("Labels") or {}).get(LABEL_SESSION)))


def _remove_volume(name: str, api: Api) -> None:
    api.remove_volume(name)
