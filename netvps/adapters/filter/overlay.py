"""The filter of a runner's part of the overlay: the rules that follow from its view, and the accepts they need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import structlog

from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import NEEDS, Nftables
from netvps.domain.overlay.fabric import Fabric
from netvps.domain.overlay.filter import ruleset
from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.netmap import Netmap
from netvps.domain.overlay.view import View
from netvps.domain.runner import Lease, Underlay
from netvps.errors import ConfigError, NetvpsError

log = structlog.get_logger()
Ports = Callable[[], Awaitable[Mapping[str, str]]]
"""Which link of the bridge leads to which session, by its address, as far as known."""

_SAMPLE = ruleset(
    View(
        "",
        Fabric(""),
        Lease(f"{Fabric('').pool.partition('/')[0]}/22", "", 1),
        Underlay(("192.0.2.1",), 1450),
        Netmap(),
    )
)
"""Every kind of rule, and nobody it is about."""


class OverlayFilter:
    """Fulfils runner.overlay.ports.Filter. Where it cannot be loaded, sessions must not run on the overlay."""

    def __init__(
        self,
        nftables: Nftables,
        iptables: Iptables,
        firewalld: Firewalld,
        ports: Ports,
        names: ObjectNames = OBJECT_NAMES,
    ) -> None:
        self._nftables = nftables
        self._iptables = iptables
        self._firewalld = firewalld
        self._ports = ports
        self._names = names
        self._port = Fabric("").port
        self._accepted: int | None = None
        """The port that the accepts were made for; None if it is not known whether they are there."""
        self._refusal = ""
        """Why there are no accepts, as it was said last."""
        self._bound: Mapping[str, str] = {}

    async def load(self, view: View) -> None:
        """Loads the rules for this view, all or none, then the accepts. Raises a NetvpsError for the rules."""
        self._bound = await self._ports()
        # Off the loop: a hundred thousand sessions are gone through.
        await self._nftables.load(await asyncio.to_thread(ruleset, view, self._bound, self._names))
        self._port = view.fabric.port
        if self._accepted != self._port:
            await self._accept()

    async def loaded(self) -> bool:
        """Whether what was loaded last is there, and for the links that sessions have now.

        Accepts that were missing are there again afterwards.
        """
        if not await self._nftables.loaded() or await self._ports() != self._bound:
            return False
        await self._accept()
        return True

    async def remove(self) -> None:
        """Removes all of it; what is gone is no error."""
        self._accepted = None
        await self._firewalld.remove(self._port)
        await self._iptables.remove()
        with suppress(ConfigError):  # where no nft is, it loaded nothing
            await self._nftables.remove(f"{family} {self._names.table}" for family in ("inet", "bridge"))

    async def unable(self) -> str:
        """Why this machine cannot filter, and what to do; '' if it can. Nothing is changed."""
        try:
            why = await self._nftables.refusal(_SAMPLE)
        except NetvpsError as error:
            return f"{error.message} The overlay needs nftables: without it sessions would not be apart"
        return f"nftables cannot do what the overlay needs: {why}; see {NEEDS}" if why else ""

    async def _accept(self) -> None:
        """Without them sessions may be cut off, but they are kept apart all the same: the overlay goes on."""
        try:
            await self._iptables.ensure(self._port)
            await self._firewalld.ensure(self._port)
        except NetvpsError as error:
            if error.message != self._refusal:
                log.warning("sessions may not reach each other", error=error.message)
            self._accepted, self._refusal = None, error.message
            return
        self._accepted, self._refusal = self._port, ""
