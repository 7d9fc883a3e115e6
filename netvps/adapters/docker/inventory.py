"""Lists what netvps made in this machine's Docker engine, for all runners that this machine has had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.adapters.docker.leftovers import Leftover, Leftovers
from netvps.adapters.docker.network.network import SessionNetworks
from netvps.domain.runner.docker_names import (
    LABEL_MANAGED,
    LABEL_NODE,
    LABEL_TYPE,
    SHARED_NETWORK,
    environment_image,
    is_isolated_network,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.adapters.docker.client import Answer, Api, Docker

_MANAGED: Final = {"label": f"{LABEL_MANAGED}=true"}
_ENVIRONMENT: Final = {"label": [f"{LABEL_MANAGED}=true", f"{LABEL_TYPE}=env"]}


class Inventory:
    """The objects of netvps in one engine, by labels and names together."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker

    async def nodes(self) -> list[str]:
        """Returns the uids of the runners that made something here."""
        return await self._docker.call("objects of netvps", _nodes)

    async def of_sessions(self) -> list[Leftover]:
        """Returns containers, images and volumes of sessions, and containers of tasks."""
        return sorted([thing for node in await self.nodes() for thing in await Leftovers(self._docker, node).things()])

    async def networks(self) -> list[str]:
        """Returns the names of the networks of sessions' owners."""
        return await self._docker.call("networks", lambda api: sorted(_networks(api)))

    async def release_networks(self) -> None:
        """Removes the networks of owners that no container is connected to."""
        for node in await self.nodes():
            await SessionNetworks(self._docker, node).release()

    async def environments(self) -> list[str]:
        """Returns the references of the environments that netvps made here; not of those that it pulled."""
        return await self._docker.call("images", lambda api: sorted(_environments(api)))

    async def remove_environment(self, reference: str) -> None:
        """Removes an environment's image. Raises if a container uses it."""
        await self._docker.call_slowly(f"image {reference}", lambda api: api.remove_image(reference))


def _nodes(api: Api) -> list[str]:
    found: list[Answer] = [
        *api.containers(all=True, filters=_MANAGED),
        *api.images(filters=_MANAGED),
        *(api.volumes(filters=_MANAGED).get("Volumes") or ()),
        *api.networks(filters=_MANAGED),
    ]
    return sorted({str(labels[LABEL_NODE]) for one in found if LABEL_NODE in (labels := one.get("Labels") or {})})


def _networks(api: Api) -> Iterable[str]:
    names = (str(one["Name"]) for one in api.networks(filters=_MANAGED))
    return (name for name in names if name == SHARED_NETWORK or is_isolated_network(name))


def _environments(api: Api) -> Iterable[str]:
    prefix = environment_image("").partition(":")[0]
    tags = (str(tag) for one in api.images(filters=_ENVIRONMENT) for tag in one.get("RepoTags") or ())
    return (tag for tag in tags if tag.startswith(prefix))
