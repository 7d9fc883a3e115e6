"""The packet filter of a runner's overlay: loads the rules that follow from a view, and the accepts they need."""

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
from netvps.adapters.filter.rules.overlay import edited, ruleset
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.conflicts import cut_off
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.netmap import Netmap
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.errors import ConfigError, NetvpsError

log = structlog.get_logger()
Ports = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the bridge ports by session address, as far as known."""

_SAMPLE = ruleset(
    View(
        "",
        OverlaySettings(""),
        Lease(f"{OverlaySettings('').pool.partition('/')[0]}/22", "", 1),
        Underlay(("192.0.2.1",), 1450),
        Netmap(),
    )
)
"""Has every kind of rule, and no sessions; for `nft --check`."""


class OverlayFilter:
    """Implements runner.overlay.ports.Filter. Sessions must not run on the overlay while it cannot be loaded."""

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
        """`fast_path` is the one of the same namespace; None: not managed here."""
        self._nftables = nftables
        self._iptables = iptables
        self._firewalld = firewalld
        self._ports = ports
        self._names = names
        self._fast_path = fast_path
        self._port = OverlaySettings("").port
        self._accepted: int | None = None
        """The port that the accepts were made for; None: unknown whether they exist."""
        self._refusal = ""
        """The last reason logged for missing accepts."""
        self._without_address: list[str] = []
        """The last list logged of sessions without an address of their own."""
        self._bound: Mapping[str, str] = {}
        self._look = True
        """The bridge ports must be read again."""
        self._view: View | None = None
        """The loaded rules follow from this view and the bound ports; None: unknown."""

    def reload_ports(self) -> None:
        """Makes the next `load` read the bridge ports again: they may have changed."""
        self._look = True

    async def load(self, view: View, change: Change | None = None) -> None:
        """Loads the rules for a view, all or none, then the accepts. Raises a NetvpsError if the rules are refused.

        `change`, the difference to the view loaded last, limits the work to its size.
        """
        ports = await self._asked()
        known, self._view = self._view, None
        rules = partial(ruleset, names=self._names)
        whole = partial(rules, view, ports)
        edit = edited(rules, change, view, self._bound, ports) if known and change and change.since is known else None
        self._bound = ports
        if edit is None or not await self._nftables.change(edit, whole):
            # Off the loop: it iterates over up to a hundred thousand sessions.
            await self._nftables.load(await asyncio.to_thread(whole))
            self._warn_of_conflicts(await asyncio.to_thread(cut_off, view))
        if self._fast_path:
            await self._fast_path.load(view, ports, change)
        self._view = view
        self._port = view.overlay_settings.port
        if self._accepted != self._port:
            await self._accept()

    async def add(self, view: View) -> None:
        """Adds the rules for a view that may be older than what is loaded, which stays. Raises as `load` does."""
        self._bound, self._view = await self._asked(), None
        await self._nftables.add(await asyncio.to_thread(ruleset, view, self._bound, self._names))
        self._port = view.overlay_settings.port
        await self._accept()

    async def loaded(self) -> bool:
        """Reports whether the rules loaded last are in the kernel and match the present bridge ports.

        Restores missing accepts.
        """
        if self._fast_path:
            await self._fast_path.check_attached()
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
        """Removes everything; idempotent."""
        self._accepted = None
        if self._fast_path:  # first: it would go on redirecting without the rules
            await self._fast_path.remove()
        await self._firewalld.remove(self._port)
        await self._iptables.remove()
        with suppress(ConfigError):  # without nft, nothing was loaded
            await self._nftables.remove(f"{family} {self._names.table}" for family in ("inet", "bridge"))

    async def unable(self) -> str:
        """Returns why this machine cannot filter, and what to do; '' if it can. Changes nothing."""
        try:
            why = await self._nftables.refusal(_SAMPLE)
        except NetvpsError as error:
            return f"{error.message} The overlay needs nftables to isolate sessions from each other"
        return f"nftables refuses the overlay's rules: {why}; {NEEDS}" if why else ""

    async def _asked(self) -> Mapping[str, str]:
        """Returns the bridge ports; the last known ones while the engine does not answer: containers run on."""
        if not self._look:
            return self._bound
        self._look = False  # before the await: a change meanwhile sets it again
        try:
            return await self._ports()
        except NetvpsError:
            self._look = True
            return self._bound

    def _warn_of_conflicts(self, sessions: list[str]) -> None:
        """Logs sessions that share an address, once per list."""
        if sessions and sessions != self._without_address:
            log.warning("sessions share an address and get no packets; remove one of each two", sessions=sessions)
        self._without_address = sessions

    async def _accept(self) -> None:
        """Adds accepts. Without them sessions may not reach each other, but stay isolated: the overlay runs on."""
        try:
            await self._iptables.ensure(self._port)
            await self._firewalld.ensure(self._port)
        except NetvpsError as error:
            if error.message != self._refusal:
                log.warning("iptables or firewalld may block sessions from each other", error=error.message)
            self._accepted, self._refusal = None, error.message
            return
        self._accepted, self._refusal = self._port, ""
