"""The bridge of sessions without an overlay: made when the first container needs it, removed after the last."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from docker.types import IPAMConfig, IPAMPool

from netvps.adapters.docker.client import Answer, Docker
from netvps.adapters.docker.errors import ContainerFailed, ContainerNotFound, NetworkUnavailable
from netvps.domain.docker_names import LABEL_MANAGED, NETWORK, NETWORK_SUBNET

_WHAT = f"network {NETWORK}"
_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds between tries to make it."""


class SessionNetwork:
    """Tasks that make containers and tasks that remove the network take turns (`lock`)."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self.lock = asyncio.Lock()

    async def ensure(self) -> None:
        """Makes it unless it is there. Raises NetworkUnavailable if its subnet is taken, or it is another's."""
        for pause in _PAUSES:
            try:
                await self._ensure()
            except (NetworkUnavailable, ContainerFailed):
                # Another runner of this machine may be making or removing it in this very moment.
                await asyncio.sleep(pause)
            else:
                return
        await self._ensure()

    async def _ensure(self) -> None:
        found = await self._find()
        if found is None:
            ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=NETWORK_SUBNET)])
            labels = {LABEL_MANAGED: "true"}
            try:
                await self._docker.call(
                    _WHAT,
                    lambda api: api.create_network(NETWORK, "bridge", ipam=ipam, labels=labels, check_duplicate=True),
                )
            except NetworkUnavailable as error:
                raise NetworkUnavailable(
                    f"{error.message}; {NETWORK} needs {NETWORK_SUBNET}: "
                    "find what has it (docker network ls, ip route) and remove that"
                ) from None
        elif NETWORK_SUBNET not in (given := subnets(found)):
            raise NetworkUnavailable(
                f"{_WHAT} is there with {', '.join(given) or 'no subnet'} instead of {NETWORK_SUBNET}: "
                f"remove it (docker network rm {NETWORK}) and it is made anew"
            )

    async def release(self) -> None:
        """Removes it if it is ours and no container, running or not, is on it."""
        async with self.lock:
            found = await self._find()
            if found is None or (found.get("Labels") or {}).get(LABEL_MANAGED) != "true":
                return
            network_id = found["Id"]
            on_it = {"network": network_id}
            if await self._docker.call(_WHAT, lambda api: api.containers(all=True, filters=on_it)):
                return
            with suppress(ContainerFailed, ContainerNotFound):  # another runner of this machine was quicker
                await self._docker.call(_WHAT, lambda api: api.remove_network(network_id))

    async def _find(self) -> Answer | None:
        try:
            return await self._docker.call(_WHAT, lambda api: api.inspect_network(NETWORK))
        except ContainerNotFound:
            return None


def subnets(found: Answer) -> list[str]:
    """Subnets (CIDR) of a network, by what the engine says of it."""
    return [str(pool.get("Subnet")) for pool in (found.get("IPAM") or {}).get("Config") or ()]
