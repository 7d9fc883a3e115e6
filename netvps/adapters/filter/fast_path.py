"""Keeps the fast path loaded, where the kernel and nft have what it takes; where not, packets go the long way."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network
from typing import Final

import structlog

from netvps.adapters.filter.nftables import Nftables
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.edit import edited
from netvps.domain.overlay.fast_path import fast_path
from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.netmap import Endpoint, Netmap
from netvps.domain.overlay.view import View
from netvps.errors import ConfigError, NetvpsError, Unavailable

_TRIES: Final = 3
"""Links come and go."""
log = structlog.get_logger()


def indexes() -> dict[str, int]:
    """Of all links in our namespace, by name; none if the kernel does not tell."""
    try:
        return {name: index for index, name in socket.if_nameindex()}
    except OSError:
        return {}


class FastPath:
    """Goes with the filter's own rules, which are to be loaded before: it takes no packet that those would not."""

    def __init__(
        self,
        nftables: Nftables,
        links: Callable[[], Mapping[str, int]] = indexes,
        names: ObjectNames = OBJECT_NAMES,
        *,
        wanted: bool = True,
    ) -> None:
        """`nftables` is for this table alone; `links` tells the index of each link, which no later one has.

        Not `wanted`: what an earlier run may have left is removed, and nothing is loaded.
        """
        self._nftables = nftables
        self._links = links
        self._names = names
        self._table = f"netdev {names.table}"
        self._wanted = wanted
        self._bare = False
        """Whether it is known that there is no table."""
        self._able = False
        self._resting = False
        """Whether it was refused since the last look."""
        self._refusal = ""
        """Why there is none, as it was said last."""
        self._view: View | None = None
        """What is loaded follows from it, and from the links that are bound; None: that is not known."""
        self._bound: Mapping[str, str] = {}
        self._used: Mapping[str, int] = {}
        """Indexes of the links that it is made for: a chain goes with its link, and nftables tells nobody."""

    async def load(self, view: View, ports: Mapping[str, str], change: Change | None = None) -> None:
        """Loads the rules for this view, or none. Raises a NetvpsError only if older ones could not be removed.

        With how the view differs from the one loaded last, it costs as much as that is.
        """
        if not self._wanted or self._resting or not view.hosting:
            await self.remove()
            return
        for _ in range(_TRIES):
            links = await asyncio.to_thread(self._links)
            if not {self._names.device, self._names.bridge} <= links.keys():
                break
            try:
                await self._require(view)
                await self._load(view, {at: link for at, link in ports.items() if link in links}, links, change)
            except NetvpsError as error:
                if await asyncio.to_thread(self._links) == links:
                    self._rest(error.message)
                    break
            else:
                return
        await self.remove()

    async def look(self) -> None:
        """Others flush tables, too: the next `load` is of all that is not there any more. It is tried again, too."""
        self._resting = self._bare = False
        try:
            if self._view and not await self._nftables.loaded():
                self._view = None
        except NetvpsError:
            self._view = None

    async def remove(self) -> None:
        """Removes it; what is gone is no error. Raises a NetvpsError."""
        self._view = None
        if self._bare:
            return
        try:
            if await self._nftables.has(self._table):
                await self._nftables.remove((self._table,))
        except ConfigError:  # where no nft is, it loaded nothing
            pass
        self._bare = True

    async def _load(
        self, view: View, ports: Mapping[str, str], links: Mapping[str, int], change: Change | None
    ) -> None:
        used = {name: links[name] for name in (self._names.device, self._names.bridge, *ports.values())}
        if any(used.get(name, index) != index for name, index in self._used.items()):
            self._view = None
            self._nftables.forget()
        known, self._view, self._bare = self._view, None, False
        rules = partial(fast_path, names=self._names)
        whole = partial(rules, view, ports)
        edit = edited(rules, change, view, self._bound, ports) if known and change and change.since is known else None
        if edit is None or not await self._nftables.change(edit, whole):
            await self._nftables.load(await asyncio.to_thread(whole))
        self._view, self._bound, self._used = view, ports, used

    async def _require(self, view: View) -> None:
        """Raises Unavailable where kernel or nft have not what it takes, before all of it is made for nothing."""
        if self._able:
            return
        device, address = self._names.device, str(IPv4Network(view.lease.cidr)[2])
        netmap = Netmap(endpoints={"": Endpoint("", "", "anybody", address)})
        sample = fast_path(replace(view, netmap=netmap), {address: device}, self._names)
        if why := await self._nftables.refusal(sample):
            raise Unavailable(f"nftables cannot do what the fast path needs: {why}")
        self._able = True

    def _rest(self, why: str) -> None:
        self._resting = True
        if why != self._refusal:
            log.warning("packets between sessions go the long way, which is slower; all else is as ever", why=why)
        self._refusal = why
