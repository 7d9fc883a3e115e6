"""The container engine's network on the overlay's bridge: the engine plugs containers in, and all else is ours."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from docker.types import IPAMConfig, IPAMPool

from netvps.adapters.docker.client import Answer, Docker
from netvps.adapters.docker.errors import ContainerNotFound, NetworkUnavailable
from netvps.domain.docker_names import LABEL_MANAGED
from netvps.domain.overlay.fabric import bridge_address
from netvps.domain.overlay.links import OBJECT_NAMES, Bridge, ObjectNames

_MTU: Final = "com.docker.network.driver.mtu"
_PROC = Path("/proc")


class OverlayNetwork:
    """Fulfils runner.overlay.ports.ContainerNetwork."""

    def __init__(self, docker: Docker, names: ObjectNames = OBJECT_NAMES) -> None:
        self._docker = docker
        self._names = names
        self._what = f"network {names.network}"

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        """Makes it unless it is there; our own with another subnet or MTU is made anew where nothing runs on it.

        The bridge must be there already: one that the engine makes would end with the network. Raises
        NetworkUnavailable if the name is another's, or something runs on an old subnet.
        """
        found = await self._find()
        if found is None:
            await self._create(subnet, bridge)
            return
        if (found.get("Labels") or {}).get(LABEL_MANAGED) != "true":
            raise NetworkUnavailable(
                f"{self._what} is there and not of netvps: remove it (docker network rm {self._names.network}), and it "
                "is made anew"
            )
        right = _subnet(found) == subnet
        if right and (found.get("Options") or {}).get(_MTU) == str(bridge.mtu):
            return
        if not found.get("Containers"):
            await self._remove(found)
            await self._create(subnet, bridge)
        elif not right:
            raise NetworkUnavailable(
                f"{self._what} has the subnet {_subnet(found)} instead of {subnet}, and containers run on it: stop "
                f"them (docker network inspect {self._names.network}), and it is made anew"
            )
        # Only the MTU is old: new containers get that of the bridge's routes by path MTU discovery, as old ones do.

    async def ports(self) -> frozenset[str]:
        """Names of the links, on this machine, of the containers that run on it."""
        found = await self._find()
        ports: set[str] = set()
        for container_id, endpoint in ((found or {}).get("Containers") or {}).items():
            with suppress(ContainerNotFound):
                if pid := await self._process(container_id):
                    ports |= outer_links(pid, str(endpoint.get("MacAddress", "")))
        return frozenset(ports)

    async def remove(self) -> None:
        """Removes it, if it is ours. Raises ContainerFailed if something runs on it."""
        found = await self._find()
        if found and (found.get("Labels") or {}).get(LABEL_MANAGED) == "true":
            await self._remove(found)

    async def _process(self, container_id: str) -> int:
        """Its first one; 0 if it does not run."""
        what = f"container {container_id[:12]}"
        said = await self._docker.call(what, lambda api: api.inspect_container(container_id))
        return int(said["State"].get("Pid") or 0)

    async def _remove(self, found: Answer) -> None:
        with suppress(ContainerNotFound):
            await self._docker.call(self._what, lambda api: api.remove_network(found["Id"]))

    async def _create(self, subnet: str, bridge: Bridge) -> None:
        """Not masqueraded by the engine, which would hide sessions from each other; the overlay's filter does it.

        Engines from 28 on drop what is routed to a container unless told not to; older ones ignore that option.
        """
        options = {
            "com.docker.network.bridge.name": self._names.bridge,
            "com.docker.network.bridge.enable_ip_masquerade": "false",
            "com.docker.network.bridge.gateway_mode_ipv4": "nat-unprotected",
            _MTU: str(bridge.mtu),
        }
        ipam = IPAMConfig(pool_configs=[IPAMPool(subnet=subnet, gateway=bridge_address(subnet))])
        try:
            await self._docker.call(
                self._what,
                lambda api: api.create_network(
                    self._names.network,
                    "bridge",
                    options=options,
                    ipam=ipam,
                    labels={LABEL_MANAGED: "true"},
                    check_duplicate=True,
                ),
            )
        except NetworkUnavailable as error:
            raise NetworkUnavailable(
                f"{error.message}; it needs {subnet}: find the network that has it (docker network ls) and remove that"
            ) from None

    async def _find(self) -> Answer | None:
        try:
            return await self._docker.call(self._what, lambda api: api.inspect_network(self._names.network))
        except ContainerNotFound:
            return None


def _subnet(found: Answer) -> str:
    pools = (found.get("IPAM") or {}).get("Config") or ()
    return str(next((pool.get("Subnet") for pool in pools), "none"))


def outer_links(pid: int, mac: str, proc: Path = _PROC) -> set[str]:
    """Names of the other ends, here, of the links with this MAC that process `pid` has; none once it has ended."""
    found = set()
    for link in (proc / str(pid) / "root/sys/class/net").glob("*"):
        with suppress(OSError, ValueError):
            if (link / "address").read_text(encoding="ascii").strip() == mac:
                found.add(socket.if_indextoname(int((link / "iflink").read_text(encoding="ascii"))))
    return found
