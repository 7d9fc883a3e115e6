"""Builds a runner's overlay from its parts."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from netvps.adapters.bpf.fast_path import FastPath
from netvps.adapters.dns.server import DnsServer
from netvps.adapters.docker.network.overlay_network import OverlayNetwork
from netvps.adapters.filter.batch import Batch
from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.adapters.probe.echo import Echo
from netvps.adapters.probe.tcp import TcpEcho
from netvps.runner.overlay.disabled import NoNames, NoNetwork
from netvps.runner.overlay.links import Links
from netvps.runner.overlay.netmap_store import FileNetmapStore
from netvps.runner.overlay.overlay import Overlay
from netvps.runner.overlay.reconcile import Reconciler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.adapters.docker.client import Docker
    from netvps.runner.settings import RunnerSettings as Place
    from netvps.settings import RunnerSettings

MEMORY = "overlay.json"


@asynccontextmanager
async def overlay(settings: RunnerSettings, place: Place, docker: Docker | None) -> AsyncIterator[Overlay | None]:
    """The overlay of this machine, if it is enabled; `docker` None: it runs no sessions.

    Kernel objects stay when the program ends.
    """
    if not settings.overlay:
        yield None
        return
    server = place.tunnel_address.rpartition(":")[0].strip("[]")
    async with NetlinkKernel(server=server, underlay=settings.underlay) as kernel, Echo() as echo:
        network = OverlayNetwork(docker) if docker else NoNetwork()
        names = DnsServer() if docker else NoNames()
        tcp, batch = TcpEcho(), Batch()
        nftables = Nftables(generation=generation, batch=batch.change)
        fast_path = FastPath(wanted=settings.overlay_fast_path == "auto")
        filter_ = OverlayFilter(nftables, Iptables(), Firewalld(), network.ports, fast_path=fast_path)
        store = FileNetmapStore(place.state_dir / MEMORY, place.uid)
        try:
            reconciler = Reconciler(kernel, network, filter_, names)
            links = Links(place.name, echo, tcp, kernel)
            yield Overlay(place.uid, kernel, reconciler, store, links, hosting=docker is not None)
        finally:
            batch.close()
            await tcp.close()
            await names.close()
