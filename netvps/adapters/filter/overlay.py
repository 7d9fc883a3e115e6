"""The filter of a runner's part of the overlay: the rules that follow from its view, and the accepts they need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import structlog

from netvps.adapters.bpf.fast_path import FastPath
from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import NEEDS, Nftables
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.conflicts import cut_off
from netvps.domain.overlay.edit import edited
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
        *,
        fast_path: FastPath | None = None,
    ) -> None:
        """`fast_path` is one in the same namespace; None: it is nobody's business here."""
        self._nftables = nftables
        self._iptables = iptables
        self._firewalld = firewalld
        self._ports = ports
        self._names = names
        self._fast_path = fast_path
        self._port = Fabric("").port
        self._accepted: int | None = None
        """The port that the accepts were made for; None if it is not known whether they are there."""
        self._refusal = ""
        """Why there are no accepts, as it was said last."""
        self._cut_off: list[str] = []
        """Sessions without an address of their own, as it was said last."""
        self._bound: Mapping[str, str] = {}
        self._look = True
        """Whether the links are to be asked for."""
        self._view: View | None = None
        """What is loaded follows from it, and from the links that are bound; None: that is not known."""

    def look(self) -> None:
        """Which link leads to which session may have changed: the next `load` asks."""
        self._look = True

    async def load(self, view: View, change: Change | None = None) -> None:
        """Loads the rules for this view, all or none, then the accepts. Raises a NetvpsError for the rules.

        With how it differs from the view loaded last, it costs as much as that is.
        """
        ports = await self._asked()
        known, self._view = self._view, None
        rules = partial(ruleset, names=self._names)
        whole = partial(rules, view, ports)
        edit = edited(rules, change, view, self._bound, ports) if known and change and change.since is known else None
        self._bound = ports
        if edit is None or not await self._nftables.change(edit, whole):
            # Off the loop: a hundred thousand sessions are gone through.
            await self._nftables.load(await asyncio.to_thread(whole))
            self._tell(await asyncio.to_thread(cut_off, view))
        if self._fast_path:
            await self._fast_path.load(view, ports, change)
        self._view = view
        self._port = view.fabric.port
        if self._accepted != self._port:
            await self._accept()

    async def add(self, view: View) -> None:
        """Adds the rules for this view, which may be older than what is there: that stays. Raises as `load` does."""
        self._bound, self._view = await self._asked(), None
        await self._nftables.add(await asyncio.to_thread(ruleset, view, self._bound, self._names))
        self._port = view.fabric.port
        await self._accept()

    async def loaded(self) -> bool:
        """Whether what was loaded last is there, and for the links that sessions have now.

        Accepts that were missing are there again afterwards.
        """
        if self._fast_path:
            await self._fast_path.look()
        if not await self._nftables.loaded():
            self._view = None
            return False
        self._look = True
        if await self._asked() != self._bound:
            self._look = True
            return False
        await self._accept()
        return True

    async def remove(self) -> None:
        """Removes all of it; what is gone is no error."""
        self._accepted = None
        if self._fast_path:  # first: it would go on alone
            await self._fast_path.remove()
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

    async def _asked(self) -> Mapping[str, str]:
        """While the engine does not answer, as it was last: that stops no container. It is asked again then."""
        if not self._look:
            return self._bound
        self._look = False  # before asking: what comes meanwhile is asked for again
        try:
            return await self._ports()
        except NetvpsError:
            self._look = True
            return self._bound

    def _tell(self, sessions: list[str]) -> None:
        """Of those that are cut off, once."""
        if sessions and sessions != self._cut_off:
            log.warning("sessions are cut off: remove one of each two with one address", sessions=sessions)
        self._cut_off = sessions

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
