"""What carries a runner's label, found by that and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from netvps.adapters.docker.client import Answer, Api, Docker
from netvps.adapters.docker.errors import ContainerNotFound
from netvps.domain.docker_names import LABEL_NODE, LABEL_SESSION


@dataclass(frozen=True, slots=True, order=True)
class Thing:
    """Something of a session: "container", "image" or "volume", and what Docker calls it."""

    session_uid: str
    kind: str
    name: str


class Leftovers:
    """Things of the runner `node`."""

    def __init__(self, docker: Docker, node: str) -> None:
        self._docker = docker
        self._node = f"{LABEL_NODE}={node}"

    async def sessions(self) -> frozenset[str]:
        """Uids of all sessions of which there is a container, image or volume."""
        return await self._docker.call("what is ours", self._sessions)

    async def things(self) -> list[Thing]:
        """All containers, images and volumes, by session."""
        return await self._docker.call("what is ours", self._things)

    async def mounted(self) -> frozenset[str]:
        """Host paths that any container of the engine mounts, also one that is not ours or does not run."""
        found = await self._docker.call("containers", lambda api: api.containers(all=True))
        return frozenset(str(mount.get("Source", "")) for one in found for mount in one.get("Mounts") or ())

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
        return frozenset(thing.session_uid for thing in self._things(api))

    def _things(self, api: Api) -> list[Thing]:
        filters = {"label": self._node}
        found: list[tuple[str, str, Answer]] = [
            *(
                ("container", str(c["Names"][0]).removeprefix("/"), c)
                for c in api.containers(all=True, filters=filters)
            ),
            *(("image", (i.get("RepoTags") or [i["Id"]])[0], i) for i in api.images(filters=filters)),
            *(("volume", str(v["Name"]), v) for v in api.volumes(filters=filters).get("Volumes") or ()),
        ]
        named = (((thing.get("Labels") or {}).get(LABEL_SESSION), kind, name) for kind, name, thing in found)
        return sorted(Thing(uid, kind, name) for uid, kind, name in named if uid)


def _remove_volume(name: str, api: Api) -> None:
    api.remove_volume(name)
