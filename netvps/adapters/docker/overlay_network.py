"""The container engine's network on the overlay's bridge: the engine plugs containers in, and all else is ours."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from docker.types import IPAMConfig, IPAMPool

from netvps.adapters.docker.client import Answer, Docker
from netvps.adapters.docker.errors import ContainerNotFound, DockerError, NetworkUnavailable
from netvps.adapters.docker.resolver import opened, remove_nat
from netvps.domain.blueprint import RESOLV_CONF_PATH
from netvps.domain.docker_names import LABEL_MANAGED, is_session_container
from netvps.domain.overlay.fabric import bridge_address
from netvps.domain.overlay.links import OBJECT_NAMES, Bridge, ObjectNames

_MTU: Final = "com.docker.network.driver.mtu"
_PROC = Path("/proc")
log = structlog.get_logger()


class OverlayNetwork:
    """Fulfils runner.overlay.ports.ContainerNetwork."""

    def __init__(self, docker: Docker, names: ObjectNames = OBJECT_NAMES) -> None:
        self._docker = docker
        self._names = names
        self._what = f"network {names.network}"
        self._links: dict[str, str] = {}
        """Name of a container's link, on this machine, by the id of its end."""
        self._refusal = ""
        """Why Docker's NAT stays in sessions, as it was said last."""

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
                "is made again"
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
                f"them (docker network inspect {self._names.network}), and it is made again"
            )
        # Only the MTU is old: new containers get that of the bridge's routes by path MTU discovery, as old ones do.

    async def ports(self) -> Mapping[str, str]:
        """Names of the links, on this machine, of the containers that run on it, by the containers' addresses.

        From those that it had not seen yet, and that ask the runner for names, Docker's resolver is taken away.
        """
        try:
            found = await self._find() or {}
        except DockerError:
            self._links = {}  # an engine that comes back to running containers puts its resolver into them again
            raise
        links: dict[str, str] = {}
        ports = {}
        for container_id, endpoint in (found.get("Containers") or {}).items():
            end = str(endpoint.get("EndpointID"))  # another at each start, and it keeps its link: it is looked for once
            if link := self._links.get(end) or await self._outer_link(container_id, str(endpoint.get("MacAddress"))):
                links[end] = link
                ports[str(endpoint.get("IPv4Address", "")).partition("/")[0]] = link
        self._links = links
        return ports

    async def remove(self, *, force: bool = False) -> None:
        """Removes it, if it is ours. Raises ContainerFailed if containers run on it; `force` takes them off it."""
        found = await self._find()
        if not found or (found.get("Labels") or {}).get(LABEL_MANAGED) != "true":
            return
        for container_id in (found.get("Containers") or {}) if force else ():
            await self._disconnect(container_id)
        await self._remove(found)

    async def _outer_link(self, container_id: str, mac: str) -> str:
        what = f"container {container_id[:12]}"
        try:
            said = await self._docker.call(what, lambda api: api.inspect_container(container_id))
        except ContainerNotFound:
            return ""
        pid = int(said["State"].get("Pid") or 0)
        with opened(pid) as namespace:
            # In this order: that link shows that what was opened is the container's.
            link = outer_link(pid, mac)
            mounted = {mount.get("Destination") for mount in said.get("Mounts") or ()}
            ours = is_session_container(str(said.get("Name", "")).removeprefix("/"), said["Config"].get("Labels"))
            if link and namespace is not None and ours and RESOLV_CONF_PATH in mounted:
                await self._disburden(namespace)
        return link

    async def _disburden(self, namespace: int) -> None:
        """Without it all works the same, but slower."""
        refusal = await remove_nat(namespace)
        if refusal and refusal != self._refusal:
            log.warning("Docker's NAT stays in sessions, and takes some of their network's speed", error=refusal)
        self._refusal = refusal

    async def _disconnect(self, container_id: str) -> None:
        name = self._names.network
        with suppress(ContainerNotFound):
            await self._docker.call(
                self._what, lambda api: api.disconnect_container_from_network(container_id, name, force=True)
            )

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


def outer_link(pid: int, mac: str, proc: Path = _PROC) -> str:
    """Name of the other end, here, of the link with this MAC that process `pid` has; '' if there is none."""
    for link in (proc / str(pid) / "root/sys/class/net").glob("*"):
        with suppress(OSError, ValueError):  # it ends just now
            if (link / "address").read_text(encoding="ascii").strip() == mac:
                return socket.if_indextoname(int((link / "iflink").read_text(encoding="ascii")))
    return ""
