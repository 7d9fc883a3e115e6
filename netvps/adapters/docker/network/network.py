"""Manages the networks of sessions without the overlay: one per owner, removed after its last session.

Docker isolates its bridges from each other, and its resolver names only containers on the same network. So sessions of
two owners can neither reach nor resolve each other, even where the runner may not write rules of its own (ADR 0021).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import IPv4Network, ip_network
from itertools import islice

import structlog
from docker.types import IPAMConfig, IPAMPool

from netvps.adapters.docker.client import Answer, Docker
from netvps.adapters.docker.errors import ContainerFailed, ContainerNotFound, NetworkUnavailable
from netvps.domain.runner.docker_names import (
    LABEL_MANAGED,
    LABEL_NODE,
    NETWORK_SUBNET,
    SHARED_NETWORK,
    is_isolated_network,
    isolated_bridge,
    isolated_network,
    session_of,
)
from netvps.domain.runner.ipam import free_subnets

_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds between attempts to create one."""
_SUBNETS = 16
"""Subnets tried per attempt: another runner of the machine may take some meanwhile."""
log = structlog.get_logger()


class SessionNetworks:
    """The networks of the runner with uid `node`. `lock` serialises creating containers with removing networks."""

    def __init__(self, docker: Docker, node: str) -> None:
        self._docker = docker
        self._node = node
        self.lock = asyncio.Lock()

    def name(self, owner: str) -> str:
        """Returns the Docker name of an owner's network."""
        return isolated_network(self._node, owner)

    async def ensure(self, owner: str) -> None:
        """Creates an owner's network unless it exists. Raises NetworkUnavailable: no subnet, or a foreign network."""
        for pause in _PAUSES:
            try:
                await self._ensure(self.name(owner))
            except (NetworkUnavailable, ContainerFailed):
                # Another runner of this machine may be taking the same subnet.
                await asyncio.sleep(pause)
            else:
                return
        await self._ensure(self.name(owner))

    async def release(self) -> None:
        """Removes this runner's networks, and the old shared one, that no container is connected to, running or not."""
        async with self.lock:
            found = [one for one in await self._networks() if self._is_ours(one) or _is_shared(one)]
            if not found:
                return
            on_them = {"network": [str(one["Id"]) for one in found]}
            containers = await self._docker.call("networks", lambda api: api.containers(all=True, filters=on_them))
            used = {name for one in containers for name in (one.get("NetworkSettings") or {}).get("Networks") or ()}
            for one in found:
                if one["Name"] not in used:
                    await self._remove(one)

    async def _ensure(self, name: str) -> None:
        networks = await self._networks()
        found = next((one for one in networks if one["Name"] == name), None)
        if found is not None:
            if not self._is_ours(found):
                raise NetworkUnavailable(
                    f"network {name} exists and is not this runner's: remove it (docker network rm {name}); netvps "
                    "then "
                    "creates its own"
                )
            return
        if shared := next((one for one in networks if _is_shared(one)), None):
            await self._retire(shared)
            networks.remove(shared)
        await self._create(name, networks)

    async def _create(self, name: str, networks: list[Answer]) -> None:
        taken = [cidr for one in networks for cidr in subnets(one)]
        refused: NetworkUnavailable | None = None
        for subnet in islice(free_subnets(taken), _SUBNETS):
            try:
                await self._make(name, subnet)
            except NetworkUnavailable as error:
                refused = error  # used by something other than a Docker network
            else:
                return
        others = sorted(one["Name"] for one in networks if _conflicts(one) and not self._is_ours(one))
        cause = refused.message if refused else f"no subnet of {NETWORK_SUBNET} is free"
        raise NetworkUnavailable(
            f"cannot create network {name} for a session's owner: {cause}; remove what else uses addresses of "
            f"{NETWORK_SUBNET} (docker network ls, ip route{': ' if others else ''}{', '.join(others)}),"
            " or sessions of other owners"
        )

    async def _make(self, name: str, subnet: str) -> None:
        options = {
            "com.docker.network.bridge.name": isolated_bridge(name),
            "com.docker.network.bridge.enable_icc": "true",  # the owner's sessions reach each other
        }
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)])
        labels = {LABEL_MANAGED: "true", LABEL_NODE: self._node}
        await self._docker.call(
            f"network {name}",
            lambda api: api.create_network(
                name, "bridge", options=options, ipam=ipam, labels=labels, check_duplicate=True
            ),
        )

    async def _retire(self, shared: Answer) -> None:
        """Moves this runner's sessions off the network that all owners shared in an earlier version, and removes it.

        It occupies the addresses of the owners' networks. Raises NetworkUnavailable if foreign containers are on it.
        """
        on_it = {"network": shared["Id"]}
        found = await self._docker.call(SHARED_NETWORK, lambda api: api.containers(all=True, filters=on_it))
        others = [_name(one) for one in found if not session_of("container", _name(one), one["Labels"], self._node)]
        if others:
            raise NetworkUnavailable(
                f"network {SHARED_NETWORK} of an earlier version occupies the addresses of the owners' own networks, "
                "and"
                f" containers of other runners are connected to it: {', '.join(others)}; remove them, or disconnect "
                "them"
                f" (docker network disconnect {SHARED_NETWORK} NAME)"
            )
        log.warning("sessions leave the network shared by all owners; each gets a new address", sessions=len(found))
        for one in found:
            await self._disconnect(str(one["Id"]))
        await self._remove(shared)

    async def _disconnect(self, container_id: str) -> None:
        with suppress(ContainerNotFound, ContainerFailed):  # disconnected already
            await self._docker.call(
                f"network {SHARED_NETWORK}",
                lambda api: api.disconnect_container_from_network(container_id, SHARED_NETWORK, force=True),
            )

    async def _remove(self, network: Answer) -> None:
        with suppress(ContainerFailed, ContainerNotFound):  # in use again, or removed by another runner
            await self._docker.call(f"network {network['Name']}", lambda api: api.remove_network(network["Id"]))

    async def _networks(self) -> list[Answer]:
        """Lists the engine's networks; does not inspect them, which would list every container."""
        return list(await self._docker.call("networks", lambda api: api.networks()))

    def _is_ours(self, network: Answer) -> bool:
        labels = network.get("Labels") or {}
        return is_isolated_network(network["Name"]) and labels.get(LABEL_NODE) == self._node


def subnets(found: Answer) -> list[str]:
    """Returns the subnets (CIDR) of a network."""
    return [str(pool.get("Subnet")) for pool in (found.get("IPAM") or {}).get("Config") or () if pool.get("Subnet")]


def _is_shared(network: Answer) -> bool:
    return network["Name"] == SHARED_NETWORK and (network.get("Labels") or {}).get(LABEL_MANAGED) == "true"


def _conflicts(network: Answer) -> bool:
    """Reports whether a network uses addresses that owners' networks get."""
    given = (ip_network(cidr, strict=False) for cidr in subnets(network))
    return any(isinstance(cidr, IPv4Network) and cidr.overlaps(IPv4Network(NETWORK_SUBNET)) for cidr in given)


def _name(container: Answer) -> str:
    return str((container.get("Names") or [container["Id"]])[0]).removeprefix("/")
