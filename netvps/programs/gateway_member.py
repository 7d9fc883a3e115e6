"""The server joins the overlay by itself, where it may and no runner of its machine does that for it (ADR 0014).

    nobody has it here, for a while ──► hold ──► able? ──► row, lease ──► Overlay, fed from the netmap of this process
              ▲                                                                  │
              └── erase, let go, row removed ◄── a runner asks ──────────────────┤
              └── erase, let go ◄─────────────── its row was removed ────────────┘

What it made stays when the server ends: it is the way of logins that are open.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from netvps.adapters.netlink.hold import Hold, Yielding
from netvps.adapters.netlink.privilege import unprivileged
from netvps.domain.overlay.fabric import Fabric, device_mac
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netvps.programs.gateway_overlay import Machine
    from netvps.runner.overlay.overlay import Overlay
    from netvps.services.gateway_place import GatewayPlace
    from netvps.services.gateway_row import GatewayRow
    from netvps.services.netmap import NetmapHub

log = structlog.get_logger()

_LOOK: Final = 2.0
_AGAIN: Final = 5.0
"""Seconds until what could not be written is tried once more."""


@dataclass(slots=True)
class GatewayMember:
    """`run` is a task of the program; it never fails, for the gateway has its tunnels."""

    fabric: Fabric
    hub: NetmapHub
    row: GatewayRow
    place: GatewayPlace
    mac: Callable[[], str]
    """That of this namespace's overlay device, or ''."""
    listen: str
    """IP address that the server listens on."""
    after: float
    """Seconds that the overlay of this machine must have been nobody's."""
    _said: str = ""

    async def run(self) -> None:
        """For ever, until cancelled; not at all without the privilege."""
        if why := unprivileged():
            log.info("the gateway is on the overlay only where a runner of this machine is", reason=why)
            return
        await self.hub.loaded()
        while True:
            try:
                await self._wait_until_free()
                await self._belong()
            except NetvpsError as error:
                self._say(error.message)
            except Exception:  # a bug here must not end the server
                log.exception("bug in the gateway's part of the overlay")
            await asyncio.sleep(_LOOK * random.uniform(0.75, 1.25))  # noqa: S311 — no secret

    async def _wait_until_free(self) -> None:
        """Returns when there is somebody to reach, and for a while nobody has had the overlay of this machine."""
        hold, loop = Hold(), asyncio.get_running_loop()
        since = loop.time()
        while loop.time() - since < self.after or not self._target():
            await asyncio.sleep(min(_LOOK, self.after))
            if hold.held() or self._anothers():
                since = loop.time()
                if self.hub.runner(self.row.uid):
                    await self.row.leave()

    def _anothers(self) -> bool:
        """Whether what is here was made by somebody else: a runner that is away, as a rule, and comes back to it."""
        mac = self.mac()
        if mac in {"", device_mac(self.fabric, self.row.uid)}:
            return False
        owner = next((peer.runner for peer in self.hub.netmap.peers.values() if peer.mac == mac), "")
        if not owner:
            self._say("nv0 is here, and of no runner that is known; what is left over, netvps network purge removes")
        row = self.hub.runner(owner)
        return row is None or not row.gateway_only

    def _target(self) -> str:
        """An address on the way to the runners; '' if there are none."""
        peers = (peer for uid, peer in self.hub.netmap.peers.items() if not _is_gateway(self.hub, uid))
        there = next((peer.underlay.addresses[0] for peer in peers), "")
        own = ipaddress.ip_address(self.listen)
        if not there or own.is_unspecified or own.is_loopback or own.version != ipaddress.ip_address(there).version:
            return there
        return self.listen

    async def _belong(self) -> None:
        """Joins, and is on the overlay until a runner asks for that, or the row is gone."""
        heavy = await asyncio.to_thread(_import)
        with Yielding() as yielding:
            async with heavy(self._target()) as machine:
                if not machine.kernel.hold():
                    return  # another was quicker
                if why := await machine.unable(self.fabric.pool):
                    self._say(why)
                    return
                await self._be_there(machine, yielding)
                await machine.erase()
        await self.row.leave()

    async def _be_there(self, machine: Machine, yielding: Yielding) -> None:
        """Returns when it shall be no more: a runner asks, or the row was removed."""
        welcome = await self.row.join(await machine.kernel.underlay())
        async with machine.overlay(self.row.uid, welcome) as overlay, asyncio.TaskGroup() as group:
            log.info("the gateway joins the overlay", gateway=welcome.runner, subnet=welcome.lease.cidr)
            self._said = ""
            asked = group.create_task(yielding.asked(), name="yielding")
            removed = group.create_task(self._feed(overlay), name="gateway's netmap")
            work = [
                group.create_task(overlay.run(), name="gateway's overlay"),
                group.create_task(self._keep_telling(overlay), name="gateway's row"),
                group.create_task(self._show(), name="gateway's device"),
            ]
            await asyncio.wait((asked, removed), return_when=asyncio.FIRST_COMPLETED)
            why = "for a runner of this machine" if asked.done() else "it was removed"
            log.info("the gateway leaves the overlay", reason=why)
            for task in (asked, removed, *work):
                task.cancel()

    async def _feed(self, overlay: Overlay) -> None:
        """Tells it the netmap as it changes; returns when we are none of its members any more."""
        known = False
        while self.hub.runner(self.row.uid) or not known:
            known = known or self.hub.runner(self.row.uid) is not None
            overlay.know(self.hub.netmap)
            await self.hub.news()

    async def _keep_telling(self, overlay: Overlay) -> None:
        news = asyncio.Event()

        def told(*, moved: bool) -> None:  # noqa: ARG001 — either way
            news.set()

        overlay.told = told
        overlay.worried = news.set
        while True:
            await news.wait()
            news.clear()
            try:
                await self.row.tell(overlay.underlay, overlay.problems)
            except NetvpsError as error:
                log.warning("the gateway's row cannot be written", error=error.message)
                news.set()
            await asyncio.sleep(_AGAIN * random.uniform(0.75, 1.25))  # noqa: S311 — no secret

    async def _show(self) -> None:
        """Has the gateway see where it is as soon as it is there."""
        own = device_mac(self.fabric, self.row.uid)
        while self.mac() != own or self.row.uid not in self.hub.netmap.peers:  # noqa: ASYNC110 — the kernel's
            await asyncio.sleep(_LOOK / 10)
        try:
            await self.place.look()
        except NetvpsError as error:
            log.info("the gateway looks later where it is", error=error.message)

    def _say(self, why: str) -> None:
        """Once, until it is something else."""
        if why != self._said:
            log.warning("the gateway makes no part of the overlay; sessions are reached by their tunnels", reason=why)
        self._said = why


def own_uid(file: Path, new_uid: Callable[[], str]) -> str:
    """That of this server's place on the overlay, which is made here once. Raises OSError."""
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
    from netvps.programs.gateway_overlay import Machine

    return Machine
