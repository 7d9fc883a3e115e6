"""Connects a server with the other servers of its database."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import structlog

from netvps.domain.access.identity import ServerIdentity
from netvps.domain.peer_server import PeerServer
from netvps.errors import ConfigError
from netvps.process import clock
from netvps.rpc.client.channel import channel_credentials
from netvps.rpc.mesh.agents import MeshAgents
from netvps.rpc.mesh.mesh import Mesh
from netvps.services.membership import Membership

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from netvps.adapters.ca.authority import Authority
    from netvps.adapters.store.store import SqlStore
    from netvps.gateway.tunnel.tunnels import Tunnels
    from netvps.settings import ServerSettings

log = structlog.get_logger()


async def start_mesh(
    stack: AsyncExitStack,
    settings: ServerSettings,
    store: SqlStore,
    ca: Authority,
    names: Sequence[str],
    *,
    tunnels: Tunnels,
) -> tuple[Mesh, Membership] | None:
    """The other servers, and the lease to be kept once this one listens; None on SQLite, which has one server.

    Raises ConfigError for a mesh_address on SQLite.
    """
    if not settings.database.startswith("postgresql"):
        if settings.mesh_address:
            raise ConfigError("mesh_address is for servers that share PostgreSQL: set database_url, or leave it out")
        return None
    uid = clock.new_uid()
    own = ca.client_certificate(ServerIdentity(uid).uri)
    server = PeerServer(uid, address_of(settings, names))
    credentials = channel_credentials(ca.certificate, own.certificate, own.key)
    mesh = await stack.enter_async_context(Mesh(server, credentials, store.nudge))
    store.on_commit = mesh.nudge
    membership = Membership(store, server, mesh.meet)
    mesh.on_stranger = membership.look
    tunnels.elsewhere = MeshAgents(mesh)
    log.info("other servers of the database reach this one", server=uid, address=server.address)
    return mesh, membership


def address_of(settings: ServerSettings, names: Sequence[str]) -> str:
    """The address for the other servers: as set, else the first of its own that is not of loopback, if any.

    Not a public name, which may lead to several servers.
    """
    own = [name for name in names if name not in settings.public_names]
    host = next((name for name in (*own, *names) if not _is_loopback(name)), names[0])
    return settings.mesh_address or f"{f'[{host}]' if ':' in host else host}:{settings.link_port}"


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
