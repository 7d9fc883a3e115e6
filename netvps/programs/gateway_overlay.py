"""Builds a server's own part of the overlay of its parts: those of a runner's, without all that sessions need.

To import this takes a quarter of a second and megabytes that most servers never need.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from netvps.adapters.bpf.fast_path import FastPath
from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.adapters.probe.echo import Echo
from netvps.adapters.probe.tcp import TcpEcho
from netvps.domain.overlay.conflicts import in_the_way
from netvps.programs.erasing import erase
from netvps.runner.overlay.alone import NoMemory, NoNames, NoNetwork
from netvps.runner.overlay.links import Links
from netvps.runner.overlay.overlay import Overlay
from netvps.runner.overlay.reconcile import Reconciler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.runner import Welcome


class Machine:
    """An async context manager. `server` is an address on the way to the others: of this machine, or of one of them."""

    def __init__(self, server: str) -> None:
        self.kernel = NetlinkKernel(server=server)
        self._network = NoNetwork()
        fast_path = FastPath(wanted=False)  # there are no sessions, but a runner may have been here
        self._filter = OverlayFilter(
            Nftables(generation=generation), Iptables(), Firewalld(), self._network.ports, fast_path=fast_path
        )

    async def __aenter__(self) -> Self:
        await self.kernel.__aenter__()
        return self

    async def __aexit__(self, *of: object) -> None:
        await self.kernel.__aexit__(*of)

    async def unable(self, pool: str) -> str:
        """Why it cannot be on an overlay of this pool, with what to do; '' if it can. Nothing is changed."""
        if why := await self.kernel.unable() or await self._filter.unable():
            return why
        return in_the_way(pool, (await self.kernel.dump()).foreign)

    @asynccontextmanager
    async def overlay(self, uid: str, welcome: Welcome) -> AsyncIterator[Overlay]:
        """To be run by the caller, and told the netmap; what it made stays when that ends."""
        async with Echo() as echo:
            tcp = TcpEcho()
            reconciler = Reconciler(self.kernel, self._network, self._filter, NoNames())
            links = Links(welcome.runner, echo, tcp, self.kernel)
            overlay = Overlay(uid, self.kernel, reconciler, NoMemory(), links, hosting=False)
            try:
                await overlay.prepare()
                overlay.welcome(welcome)
                yield overlay
            finally:
                await tcp.close()

    async def erase(self) -> None:
        """Takes all of it away. Raises a NetvpsError."""
        await erase(self.kernel, self._filter)
