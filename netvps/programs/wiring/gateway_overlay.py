"""Builds a server's overlay member: the parts of a runner's overlay without those for sessions.

Imported on demand, because it takes a quarter of a second and megabytes that most servers do not need.
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
from netvps.programs.wiring.erasing import erase
from netvps.runner.overlay.disabled import NoNames, NoNetmapStore, NoNetwork
from netvps.runner.overlay.links import Links
from netvps.runner.overlay.overlay import Overlay
from netvps.runner.overlay.reconcile import Reconciler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.runner.runner import Welcome


class Machine:
    """The overlay on this machine, an async context manager. `server` is an address towards the runners."""

    def __init__(self, server: str) -> None:
        self.kernel = NetlinkKernel(server=server)
        self._network = NoNetwork()
        fast_path = FastPath(wanted=False)  # no sessions here, but an earlier runner may have left programs
        self._filter = OverlayFilter(
            Nftables(generation=generation), Iptables(), Firewalld(), self._network.ports, fast_path=fast_path
        )

    async def __aenter__(self) -> Self:
        await self.kernel.__aenter__()
        return self

    async def __aexit__(self, *of: object) -> None:
        await self.kernel.__aexit__(*of)

    async def unable(self, pool: str) -> str:
        """Why this machine cannot join an overlay with this pool, with a remedy; '' if it can. Changes nothing."""
        if why := await self.kernel.unable() or await self._filter.unable():
            return why
        return in_the_way(pool, (await self.kernel.dump()).foreign)

    @asynccontextmanager
    async def overlay(self, uid: str, welcome: Welcome) -> AsyncIterator[Overlay]:
        """The overlay, to be run and fed with the netmap by the caller. Kernel objects stay when the block ends."""
        async with Echo() as echo:
            tcp = TcpEcho()
            reconciler = Reconciler(self.kernel, self._network, self._filter, NoNames())
            links = Links(welcome.runner, echo, tcp, self.kernel)
            overlay = Overlay(uid, self.kernel, reconciler, NoNetmapStore(), links, hosting=False)
            try:
                await overlay.prepare()
                overlay.welcome(welcome)
                yield overlay
            finally:
                await tcp.close()

    async def erase(self) -> None:
        """Removes all kernel objects. Raises a NetvpsError."""
        await erase(self.kernel, self._filter)
