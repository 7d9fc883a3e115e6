"""Which link of the overlay's bridge leads to which session, by what the engine knows: a session may say anything."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import structlog

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import ContainerNotFound, DockerError
from netvps.adapters.docker.overlay_network import outer_links
from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames

log = structlog.get_logger()


class OverlayPorts:
    """Asks the engine for each container once: a link has one name from its container's start to its end."""

    def __init__(self, docker: Docker, names: ObjectNames = OBJECT_NAMES) -> None:
        self._docker = docker
        self._network = names.network
        self._what = f"network {names.network}"
        self._links: dict[str, str] = {}
        """By the id of the container."""
        self._known: dict[str, str] = {}

    async def __call__(self) -> Mapping[str, str]:
        """Names of links by address; those known last while the engine does not answer. Never raises a NetvpsError."""
        try:
            self._known = await self._ask()
        except DockerError as error:
            log.debug("ports of sessions are those known last", error=error.message)
        return dict(self._known)

    async def _ask(self) -> dict[str, str]:
        try:
            found = await self._docker.call(self._what, lambda api: api.inspect_network(self._network))
        except ContainerNotFound:
            return {}
        endpoints = found.get("Containers") or {}
        links = {container: await self._link(container, str(end["MacAddress"])) for container, end in endpoints.items()}
        self._links = {container: link for container, link in links.items() if link}
        return {str(endpoints[one]["IPv4Address"]).partition("/")[0]: link for one, link in self._links.items()}

    async def _link(self, container: str, mac: str) -> str:
        """'' if it is not known: the container is just coming, or going."""
        known = self._links.get(container, "")
        if known and _is_there(known):
            return known
        try:
            said = await self._docker.call(f"container {container[:12]}", lambda api: api.inspect_container(container))
        except ContainerNotFound:
            return ""
        pid = int(said["State"].get("Pid") or 0)
        links = outer_links(pid, mac) if pid else set()
        return links.pop() if len(links) == 1 else ""


def _is_there(link: str) -> bool:
    try:
        return socket.if_nametoindex(link) > 0
    except OSError:
        return False
