"""Manages Docker's network on the overlay's bridge: Docker attaches containers, netvps does everything else."""

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
from netvps.adapters.docker.network.resolver import opened, remove_nat
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, Bridge, ObjectNames
from netvps.domain.overlay.settings import bridge_address
from netvps.domain.runner.docker_names import LABEL_MANAGED, is_session_container
from netvps.domain.session.blueprint import RESOLV_CONF_PATH

_MTU: Final = "com.docker.network.driver.mtu"
_PROC = Path("/proc")
log = structlog.get_logger()


class OverlayNetwork:
    """Implements runner.overlay.ports.ContainerNetwork."""

    def __init__(self, docker: Docker, names: ObjectNames = OBJECT_NAMES) -> None:
        self._docker = docker
        self._names = names
        self._what = f"network {names.network}"
        self._links: dict[str, str] = {}
        """Interface name of a container on the machine, by endpoint id."""
        self._refusal = ""
        """The last reason logged for which Docker's NAT stays in sessions."""

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        """Creates the network unless it exists; recreates ours with another subnet or MTU if no container runs on it.

        The bridge must exist already: one that Docker creates would be deleted with the network. Raises
        NetworkUnavailable if the name is taken by another network, or containers run on an old subnet.
        """
        found = await self._find()
        if found is None:
            await self._create(subnet, bridge)
            return
        if (found.get("Labels") or {}).get(LABEL_MANAGED) != "true":
            raise NetworkUnavailable(
                f"{self._what} exists and is not managed by netvps: remove it (docker network rm "
                f"{self._names.network}); "
                "netvps then creates its own"
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
                f"them (docker network inspect {self._names.network}); netvps then recreates it"
            )
        # Only the MTU differs: containers learn the new one by path MTU discovery.

    async def ports(self) -> Mapping[str, str]:
        """Returns the interface names on this machine of the network's running containers, by container address.

        Also removes Docker's resolver from containers seen for the first time that use the runner's name server.
        """
        try:
            found = await self._find() or {}
        except DockerError:
            self._links = {}  # a restarted engine adds its resolver to running containers again
            raise
        links: dict[str, str] = {}
        ports = {}
        for container_id, endpoint in (found.get("Containers") or {}).items():
            end = str(endpoint.get("EndpointID"))  # new at each start, and keeps its interface: looked up once
            if link := self._links.get(end) or await self._outer_link(container_id, str(endpoint.get("MacAddress"))):
                links[end] = link
                ports[str(endpoint.get("IPv4Address", "")).partition("/")[0]] = link
        self._links = links
        return ports

    async def remove(self, *, force: bool = False) -> None:
        """Removes our network. Raises ContainerFailed if containers run on it, unless `force` disconnects them."""
        found = await self._find()
        if not found or (found.get("Labels") or {}).get(LABEL_MANAGED) != "true":
            return
        for container_id in (found.get("Containers") or {}) if force else ():
            await self._disconnect(container_id)
        await self._remove(found)

    async def _outer_link(self, container_id: str, mac: str) -> str:
        what = f"container {container_id[:12]}"
        try:
            found = await self._docker.call(what, lambda api: api.inspect_container(container_id))
        except ContainerNotFound:
            return ""
        pid = int(found["State"].get("Pid") or 0)
        with opened(pid) as namespace:
            # In this order: an interface found afterwards proves that the opened namespace is the container's.
            link = outer_link(pid, mac)
            mounted = {mount.get("Destination") for mount in found.get("Mounts") or ()}
            ours = is_session_container(str(found.get("Name", "")).removeprefix("/"), found["Config"].get("Labels"))
            if link and namespace is not None and ours and RESOLV_CONF_PATH in mounted:
                await self._remove_nat(namespace)
        return link

    async def _remove_nat(self, namespace: int) -> None:
        """Removes Docker's NAT from a session; failing that costs only speed."""
        refusal = await remove_nat(namespace)
        if refusal and refusal != self._refusal:
            log.warning("cannot remove Docker's NAT from sessions; their network is slower with it", error=refusal)
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
        """Creates the network without Docker's masquerading, which would hide sessions from each other.

        The overlay's filter masquerades. Docker 28 and later drop packets routed to a container unless the gateway mode
        allows them; earlier versions ignore that option.
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
                f"{error.message}; the overlay needs {subnet}: remove the network that uses it (docker network ls)"
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
    """Returns the interface here whose peer has this MAC in the namespace of process `pid`; '' if there is none."""
    for link in (proc / str(pid) / "root/sys/class/net").glob("*"):
        with suppress(OSError, ValueError):  # the container just ended
            if (link / "address").read_text(encoding="ascii").strip() == mac:
                return socket.if_indextoname(int((link / "iflink").read_text(encoding="ascii")))
    return ""
