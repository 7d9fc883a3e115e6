"""Lets the server join the overlay itself, if it is permitted to and no runner on its machine has joined (ADR 0014).

    no runner here for a while ──► lock ──► able? ──► row, lease ──► Overlay, fed from the netmap of this process
              ▲                                                                  │
              └── erase, unlock, row removed ◄── a runner asks ──────────────────┤
              └── erase, unlock ◄─────────────── its row was removed ────────────┘

The kernel objects stay when the server ends, because open logins use them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from netvps.adapters.netlink.overlay_lock import OverlayLock, YieldingLock
from netvps.adapters.netlink.privilege import unprivileged
from netvps.domain.overlay.fabric import Fabric, device_mac
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netvps.programs.wiring.gateway_overlay import Machine
    from netvps.runner.overlay.overlay import Overlay
    from netvps.services.network.gateway_place import GatewayPlace
    from netvps.services.network.gateway_row import GatewayRow
    from netvps.services.network.netmap import NetmapHub

log = structlog.get_logger()

_LOOK: Final = 2.0
_AGAIN: Final = 5.0
"""Seconds until a failed write is retried."""


@dataclass(slots=True)
class GatewayMember:
    """The server's own overlay member.

    `run` is a task of the program; it never fails, because the gateway has its tunnels.
    """

    fabric: Fabric
    hub: NetmapHub
    row: GatewayRow
    place: GatewayPlace
    mac: Callable[[], str]
    """Returns the MAC of this namespace's overlay device, or ''."""
    listen: str
    """IP address that the server listens on."""
    after: float
    """Seconds for which no program may have held this machine's overlay before the server joins."""
    _said: str = ""

    async def run(self) -> None:
        """Runs until cancelled; returns immediately without the privilege."""
        if why := unprivileged():
            log.info("the gateway uses the overlay only through a runner on this machine", reason=why)
            return
        await self.hub.loaded()
        while True:
            try:
                await self._wait_until_free()
                await self._belong()
            except NetvpsError as error:
                self._say(error.message)
            except Exception:  # a bug here must not end the server
                log.exception("bug in the gateway's overlay member")
            await asyncio.sleep(_LOOK * random.uniform(0.75, 1.25))  # noqa: S311 — no secret

    async def _wait_until_free(self) -> None:
        """Returns when there are runners to reach and no program has held this machine's overlay for a while."""
        hold, loop = OverlayLock(), asyncio.get_running_loop()
        since = loop.time()
        while loop.time() - since < self.after or not self._target():
            await asyncio.sleep(min(_LOOK, self.after))
            if hold.held() or self._anothers():
                since = loop.time()
                if self.hub.runner(self.row.uid):
                    await self.row.leave()

    def _anothers(self) -> bool:
        """Whether the kernel objects were made by another program, usually a runner that is stopped and will return."""
        mac = self.mac()
        if mac in {"", device_mac(self.fabric, self.row.uid)}:
            return False
        owner = next((peer.runner for peer in self.hub.netmap.peers.values() if peer.mac == mac), "")
        if not owner:
            self._say("nv0 exists and belongs to no known runner; netvps network purge removes leftovers")
        row = self.hub.runner(owner)
        return row is None or not row.gateway_only

    def _target(self) -> str:
        """An address towards the runners; '' if there are none."""
        peers = (peer for uid, peer in self.hub.netmap.peers.items() if not _is_gateway(self.hub, uid))
        there = next((peer.underlay.addresses[0] for peer in peers), "")
        own = ipaddress.ip_address(self.listen)
        if not there or own.is_unspecified or own.is_loopback or own.version != ipaddress.ip_address(there).version:
            return there
        return self.listen

    async def _belong(self) -> None:
        """Joins, and stays on the overlay until a runner asks for it or the row is removed."""
        heavy = await asyncio.to_thread(_import)
        with YieldingLock() as yielding:
            async with heavy(self._target()) as machine:
                if not machine.kernel.hold():
                    return  # another program took the lock first
                if why := await machine.unable(self.fabric.pool):
                    self._say(why)
                    return
                await self._be_there(machine, yielding)
                await machine.erase()
        await self.row.leave()

    async def _be_there(self, machine: Machine, yielding: YieldingLock) -> None:
        """Runs the overlay; returns when a runner asks for it, or the row was removed."""
        welcome = await self.row.join(await machine.kernel.underlay())
        async with machine.overlay(self.row.uid, welcome) as overlay, asyncio.TaskGroup() as group:
            log.info("the gateway joins the overlay", gateway=welcome.runner, subnet=welcome.lease.cidr)
            self._said = ""
            asked = group.create_task(yielding.asked(), name="yielding")
            removed = group.create_task(self._feed(overlay), name="gateway's netmap")
            work = [
                group.create_task(overlay.run(), name="gateway's overlay"),
                group.create_task(self._keep_reporting(overlay), name="gateway's row"),
                group.create_task(self._show(), name="gateway's device"),
            ]
            await asyncio.wait((asked, removed), return_when=asyncio.FIRST_COMPLETED)
            why = "a runner on this machine takes over" if asked.done() else "it was removed"
            log.info("the gateway leaves the overlay", reason=why)
            for task in (asked, removed, *work):
                task.cancel()

    async def _feed(self, overlay: Overlay) -> None:
        """Passes on the netmap as it changes; returns when this server's row is removed."""
        known = False
        while self.hub.runner(self.row.uid) or not known:
            known = known or self.hub.runner(self.row.uid) is not None
            overlay.know(self.hub.netmap)
            await self.hub.news()

    async def _keep_reporting(self, overlay: Overlay) -> None:
        news = asyncio.Event()

        def changed(*, moved: bool) -> None:  # noqa: ARG001 — either way
            news.set()

        overlay.on_underlay_change = changed
        overlay.on_problems_change = news.set
        while True:
            await news.wait()
            news.clear()
            try:
                await self.row.tell(overlay.underlay, overlay.problems)
            except NetvpsError as error:
                log.warning("cannot write the gateway's row", error=error.message)
                news.set()
            await asyncio.sleep(_AGAIN * random.uniform(0.75, 1.25))  # noqa: S311 — no secret

    async def _show(self) -> None:
        """Lets the gateway use the overlay as soon as its device exists."""
        own = device_mac(self.fabric, self.row.uid)
        while self.mac() != own or self.row.uid not in self.hub.netmap.peers:  # noqa: ASYNC110 — the kernel's
            await asyncio.sleep(_LOOK / 10)
        try:
            await self.place.look()
        except NetvpsError as error:
            log.info("the gateway checks its overlay device later", error=error.message)

    def _say(self, why: str) -> None:
        """Logs a reason once, until it changes."""
        if why != self._said:
            log.warning("the gateway did not join the overlay; sessions are reached through their tunnels", reason=why)
        self._said = why


def own_uid(file: Path, new_uid: Callable[[], str]) -> str:
    """The uid of this server's overlay member, generated once. Raises OSError."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        part = file.with_suffix(".part")
        part.write_text(f"{new_uid()}\n", encoding="ascii")
        part.replace(file)
        return own_uid(file, new_uid)


def _is_gateway(hub: NetmapHub, uid: str) -> bool:
    row = hub.runner(uid)
    return row is not None and row.gateway_only


def _import() -> type[Machine]:
    from netvps.programs.wiring.gateway_overlay import Machine

    return Machine
