"""Manages Docker's network on the overlay's bridge: Docker attaches containers, netvps does everything else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from docker.types import IPAMConfig, IPAMPool

from netvps.adapters.docker.client import Answer, Docker
from netvps.adapters.docker.containers.attachments import moved_address
from netvps.adapters.docker.errors import ContainerNotFound, DockerError, NetworkUnavailable
from netvps.adapters.docker.network.resolver import opened, remove_nat
from netvps.adapters.netlink.interfaces.session_address import SessionAddress, assume
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, Bridge, ObjectNames
from netvps.domain.overlay.settings import bridge_address, session_mac
from netvps.domain.runner.docker_names import LABEL_MANAGED, is_session_container
from netvps.domain.session.blueprint import RESOLV_CONF_PATH

_MTU: Final = "com.docker.network.driver.mtu"
_PROC = Path("/proc")
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Port:
    """A running container on the bridge."""

    address: str
    link: str
    """Name of its interface on this machine."""
    prepared: bool = True
    """Nothing is left to do in its network namespace."""


class OverlayNetwork:
    """Implements runner.overlay.ports.ContainerNetwork."""

    def __init__(self, docker: Docker, names: ObjectNames = OBJECT_NAMES) -> None:
        self._docker = docker
        self._names = names
        self._what = f"network {names.network}"
        self._ports: dict[str, _Port] = {}
        """By endpoint id."""
        self._refusal = ""
        """The last reason logged for which Docker's NAT stays in sessions."""
        self._without_address = ""
        """The last reason logged for which a session does not have the address that it moved with."""

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

        Also prepares sessions seen for the first time: removes Docker's resolver from those that use the runner's name
        server, and gives those that moved here with their address that address.
        """
        try:
            found = await self._find() or {}
        except DockerError:
            self._ports = {}  # a restarted engine adds its resolver to running containers again
            raise
        ports: dict[str, _Port] = {}
        for container_id, endpoint in (found.get("Containers") or {}).items():
            end = str(endpoint.get("EndpointID"))  # new at each start, and keeps its interface: looked up once
            if port := self._ports.get(end) or await self._port(container_id, endpoint, _subnet(found)):
                ports[end] = port
        self._ports = {end: port for end, port in ports.items() if port.prepared}
        return {port.address: port.link for port in ports.values()}

    async def remove(self, *, force: bool = False) -> None:
        """Removes our network. Raises ContainerFailed if containers run on it, unless `force` disconnects them."""
        found = await self._find()
        if not found or (found.get("Labels") or {}).get(LABEL_MANAGED) != "true":
            return
        for container_id in (found.get("Containers") or {}) if force else ():
            await self._disconnect(container_id)
        await self._remove(found)

    async def _port(self, container_id: str, endpoint: Answer, subnet: str) -> _Port | None:
        what = f"container {container_id[:12]}"
        try:
            found = await self._docker.call(what, lambda api: api.inspect_container(container_id))
        except ContainerNotFound:
            return None
        networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
        local = str(endpoint.get("IPv4Address", "")).partition("/")[0]
        moved = moved_address(networks.get(self._names.network) or {})
        pid, prepared = int(found["State"].get("Pid") or 0), True
        with opened(pid) as namespace:
            # In this order: an interface found afterwards proves that the opened namespace is the container's.
            macs = (str(endpoint.get("MacAddress")), *((session_mac(moved),) if moved else ()))
            link = next(filter(None, (outer_link(pid, mac) for mac in macs)), "")
            mounted = {mount.get("Destination") for mount in found.get("Mounts") or ()}
            ours = is_session_container(str(found.get("Name", "")).removeprefix("/"), found["Config"].get("Labels"))
            if link and namespace is not None and ours and RESOLV_CONF_PATH in mounted:
                await self._remove_nat(namespace)
            if link and namespace is not None and ours and moved:
                prepared = await self._give_address(namespace, SessionAddress(moved, local, bridge_address(subnet)))
        return _Port(moved or local, link, prepared) if link else None

    async def _remove_nat(self, namespace: int) -> None:
        """Removes Docker's NAT from a session; failing that costs only speed."""
        refusal = await remove_nat(namespace)
        if refusal and refusal != self._refusal:
            log.warning("cannot remove Docker's NAT from sessions; their network is slower with it", error=refusal)
        self._refusal = refusal

    async def _give_address(self, namespace: int, wanted: SessionAddress) -> bool:
        """Gives a session the address that it moved with; returns whether it has it. Without it, it has no network."""
        refusal = await asyncio.to_thread(assume, namespace, wanted)
        if refusal and refusal != self._without_address:
            log.error("a session has no network", error=refusal)
        self._without_address = refusal
        return not refusal

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
