"""Containers on networks: made on one, seen there, moved to another."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final

from docker.utils import version_lt

from netvps.adapters.docker.client import Answer, Api, Docker
from netvps.adapters.docker.errors import DockerError, OverlayAway
from netvps.adapters.docker.network import SessionNetworks, subnets
from netvps.domain.attachment import Attachment, Net
from netvps.domain.docker_names import SHARED_NETWORK
from netvps.domain.overlay.fabric import bridge_address, session_mac

_NONE: Final = "none"
_MAC_OF_ENDPOINT: Final = "1.44"
"""From this API on a MAC is given with an address; before, the engine makes it of the address, just as we do."""


class Attachments:
    """`overlay` is the name of the overlay's network; it is made elsewhere, `isolated` ones here when needed."""

    def __init__(self, docker: Docker, isolated: SessionNetworks, overlay: str) -> None:
        self._docker = docker
        self._isolated = isolated
        self._overlay = overlay

    async def bridge(self, address: str) -> str:
        """The overlay's bridge here, for a container with this address. Raises OverlayAway if there is none for it."""
        # Not inspect: that lists every container, too. The filter takes a part of the name for the name.
        listed = await self._docker.call("networks", lambda api: api.networks(names=[self._overlay]))
        found = next((network for network in listed if network["Name"] == self._overlay), None)
        if found is None:
            raise OverlayAway("the overlay is not up on this runner yet")
        for subnet in subnets(found):
            if IPv4Address(address) in IPv4Network(subnet):
                return bridge_address(subnet)
        raise OverlayAway(
            f"the overlay has {', '.join(subnets(found)) or 'no subnet'} on this runner, and {address} is not in it"
        )

    async def move(self, container_id: str, to: Attachment, seen: Attachment | None = None) -> None:
        """Takes a container off all networks of ours, `seen` being where it was, and puts it on this one.

        It may be where it shall be already, on a network of that name that is gone (docker network prune).
        """
        async with self._isolated.lock:
            if to.net is Net.ISOLATED:
                await self._isolated.ensure(to.owner)
            elif to.net is Net.OVERLAY:
                await self.bridge(to.address)
            owners = {one.owner for one in (to, seen) if one and one.net is Net.ISOLATED}
            for name in (_NONE, SHARED_NETWORK, self._overlay, *map(self._isolated.name, sorted(owners))):
                await self._disconnect(container_id, name)
            if to.net is not Net.NONE:
                await self._connect(container_id, to)

    def creation(self, api: Api, to: Attachment) -> dict[str, Any]:
        """How the library makes a container there: its `networking_config`."""
        if to.net is not Net.OVERLAY:
            return {}
        endpoint = api.create_endpoint_config(**_endpoint(api, to))
        return {"networking_config": api.create_networking_config({self._overlay: endpoint})}

    def mode(self, to: Attachment) -> str:
        """Docker's network mode."""
        return {Net.NONE: _NONE, Net.ISOLATED: self._isolated.name(to.owner), Net.OVERLAY: self._overlay}[to.net]

    def seen(self, networks: Answer, owner: str) -> Attachment:
        """Where a container of this owner is, by what the engine says of its networks."""
        if self._overlay in networks:
            endpoint = networks[self._overlay]
            given = (endpoint.get("IPAMConfig") or {}).get("IPv4Address")
            return Attachment(Net.OVERLAY, str(given or endpoint.get("IPAddress") or ""))
        if SHARED_NETWORK in networks:
            return Attachment(Net.SHARED)
        if self._isolated.name(owner) in networks:
            return Attachment(Net.ISOLATED, owner=owner)
        return Attachment(Net.OTHER if networks.keys() - {_NONE} else Net.NONE)

    def address(self, networks: Answer) -> str:
        """The address of a container that runs: on the overlay, if it is on that."""
        first = sorted(networks, key=lambda name: name != self._overlay)
        return next((str(networks[name]["IPAddress"]) for name in first if networks[name].get("IPAddress")), "")

    async def _disconnect(self, container_id: str, name: str) -> None:
        with suppress(DockerError):  # it is not on it; or that is known under its id only, or not at all
            await self._docker.call(
                f"network {name}", lambda api: api.disconnect_container_from_network(container_id, name, force=True)
            )

    async def _connect(self, container_id: str, to: Attachment) -> None:
        name = self.mode(to)
        await self._docker.call(
            f"network {name}", lambda api: api.connect_container_to_network(container_id, name, **_endpoint(api, to))
        )


def _endpoint(api: Api, to: Attachment) -> dict[str, str]:
    if to.net is not Net.OVERLAY:
        return {}
    mac = {} if version_lt(api.api_version, _MAC_OF_ENDPOINT) else {"mac_address": session_mac(to.address)}
    return {"ipv4_address": to.address, **mac}
