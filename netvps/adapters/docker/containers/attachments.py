"""Connects containers to networks: at creation, as inspected, or moved later."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from docker.utils import version_lt

from netvps.adapters.docker.client import Answer, Api, Docker
from netvps.adapters.docker.errors import DockerError, OverlayUnavailable
from netvps.adapters.docker.network.network import SessionNetworks, subnets
from netvps.domain.overlay.settings import bridge_address, session_mac
from netvps.domain.runner.docker_names import OPTION_ADDRESS, SHARED_NETWORK
from netvps.domain.session.attachment import Attachment, Net

_NONE: Final = "none"
_MAC_OF_ENDPOINT: Final = "1.44"
"""From this API version on, an endpoint takes a MAC; before, Docker derives it from the address as netvps does."""


class Attachments:
    """`overlay` names the overlay's network, created elsewhere; networks of owners are created here when needed."""

    def __init__(self, docker: Docker, isolated: SessionNetworks, overlay: str) -> None:
        self._docker = docker
        self._isolated = isolated
        self._overlay = overlay

    async def bridge(self, address: str) -> str:
        """Returns the address of the overlay's bridge for a container with this address of its network.

        Raises OverlayUnavailable.
        """
        # Not inspect: that lists every container, too. The API's name filter also matches parts of names.
        listed = await self._docker.call("networks", lambda api: api.networks(names=[self._overlay]))
        found = next((network for network in listed if network["Name"] == self._overlay), None)
        if found is None:
            raise OverlayUnavailable("the overlay is not ready on this runner yet")
        for subnet in subnets(found):
            if IPv4Address(address) in IPv4Network(subnet):
                return bridge_address(subnet)
        raise OverlayUnavailable(
            f"the overlay of this runner has {', '.join(subnets(found)) or 'no subnet'}, which does not contain "
            f"{address}"
        )

    async def move(self, container_id: str, to: Attachment, seen: Attachment | None = None) -> None:
        """Disconnects a container from all networks of netvps (`seen` is the present one) and connects it to `to`.

        `to` may equal `seen`: Docker's network may have been removed and created again (docker network prune).
        """
        async with self._isolated.lock:
            if to.net is Net.ISOLATED:
                await self._isolated.ensure(to.owner)
            elif to.net is Net.OVERLAY:
                await self.bridge(to.local_address or to.address)
            owners = {one.owner for one in (to, seen) if one and one.net is Net.ISOLATED}
            for name in (_NONE, SHARED_NETWORK, self._overlay, *map(self._isolated.name, sorted(owners))):
                await self._disconnect(container_id, name)
            if to.net is not Net.NONE:
                await self._connect(container_id, to)

    def creation(self, api: Api, to: Attachment) -> dict[str, Any]:
        """Returns the arguments with which the library creates a container on this network."""
        if to.net is not Net.OVERLAY:
            return {}
        endpoint = api.create_endpoint_config(**_endpoint(api, to))
        return {"networking_config": api.create_networking_config({self._overlay: endpoint})}

    def mode(self, to: Attachment) -> str:
        """Returns Docker's network mode."""
        return {Net.NONE: _NONE, Net.ISOLATED: self._isolated.name(to.owner), Net.OVERLAY: self._overlay}[to.net]

    def seen(self, networks: Answer, owner: str) -> Attachment:
        """Converts the inspected networks of an owner's container."""
        if self._overlay in networks:
            endpoint = networks[self._overlay]
            given = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
            local, moved = str(given or endpoint.get("IPAddress") or ""), moved_address(endpoint)
            return Attachment(Net.OVERLAY, moved or local, local if moved else "")
        if SHARED_NETWORK in networks:
            return Attachment(Net.SHARED)
        if self._isolated.name(owner) in networks:
            return Attachment(Net.ISOLATED, owner=owner)
        return Attachment(Net.OTHER if networks.keys() - {_NONE} else Net.NONE)

    def address(self, networks: Answer) -> str:
        """Returns a running container's address, the overlay's first."""
        first = sorted(networks, key=lambda name: name != self._overlay)
        found: Answer = next((networks[name] for name in first if networks[name].get("IPAddress")), {})
        return moved_address(found) or str(found.get("IPAddress", ""))

    async def _disconnect(self, container_id: str, name: str) -> None:
        with suppress(DockerError):  # not connected; or the network is known by id only, or gone
            await self._docker.call(
                f"network {name}", lambda api: api.disconnect_container_from_network(container_id, name, force=True)
            )

    async def _connect(self, container_id: str, to: Attachment) -> None:
        name = self.mode(to)
        await self._docker.call(
            f"network {name}", lambda api: api.connect_container_to_network(container_id, name, **_endpoint(api, to))
        )


def moved_address(endpoint: Answer) -> str:
    """Returns the overlay address of a container that moved here with it, of its inspected connection; '' if of none.

    The engine knows the local address only: it takes no address outside its network's subnet.
    """
    return str((endpoint.get("DriverOpts") or {}).get(OPTION_ADDRESS, ""))


def _endpoint(api: Api, to: Attachment) -> dict[str, Any]:
    if to.net is not Net.OVERLAY:
        return {}
    mac = {} if version_lt(api.api_version, _MAC_OF_ENDPOINT) else {"mac_address": session_mac(to.address)}
    moved = {"driver_opt": {OPTION_ADDRESS: to.address}} if to.local_address else {}
    return {"ipv4_address": to.local_address or to.address, **mac, **moved}
