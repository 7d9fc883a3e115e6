"""Where this server's gateway is on the overlay: on a runner's machine, whose way to the sessions it may take.

Or on one where the server has made a place of its own (`gateway_row`), which is no other to look at.

No runner is asked. The kernel is: a VXLAN device with the MAC of a runner of the netmap, in this process' network
namespace, is that runner's. The store then has it, for some minutes and again and again, that people come in there, so
that other runners let its machine through to the SSH servers of their sessions; what no server has renewed is removed
by any of them.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from netvps.domain.overlay.fabric import bridge_address, endpoint_address
from netvps.domain.runner import Runner, RunnerState
from netvps.errors import NetvpsError
from netvps.services.removal import remove_runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.domain.overlay.netmap import Peer
    from netvps.services.netmap import NetmapHub
    from netvps.services.ports import Clock, Store

log = structlog.get_logger()

LIFE: Final = timedelta(minutes=10)
RENEWED: Final = timedelta(minutes=5)
"""What is left of its life when it is written anew."""
FORGOTTEN: Final = timedelta(days=1)
"""Without a sign of a server, until its own place on the overlay is removed, and its subnet free."""
_TIMER: Final = (30.0, 60.0)
_PAUSE: Final = 1.0
"""Seconds between two looks, however much news there is."""


class Way(NamedTuple):
    """To a session's own address, and from which address of this machine."""

    source: str
    address: str


class GatewayPlace:
    """Keeps in the store which runner's machine this server is on. `run` is a task of the program."""

    def __init__(self, store: Store, clock: Clock, hub: NetmapHub, mac: Callable[[], str]) -> None:
        """`mac` is that of this namespace's overlay device, or ''."""
        self._store, self._clock, self._hub, self._mac = store, clock, hub, mac
        self._runner = ""

    def way(self, session_uid: str) -> Way | None:
        """To a session, as the netmap has it now; None if it has no address, or we are not on the overlay."""
        netmap = self._hub.netmap
        here, there = netmap.peers.get(self._runner), netmap.endpoints.get(session_uid)
        if here is None or not here.gateway or there is None:
            return None
        own = IPv4Address(there.address) in IPv4Network(here.lease.cidr)
        source = bridge_address if own else endpoint_address  # of a session's own subnet, the .0 is no host's
        return Way(source(here.lease.cidr), there.address)

    async def run(self) -> None:
        """Looks now, when the netmap changes, and every now and then, until it is cancelled."""
        await self._hub.loaded()
        while True:
            seen = self._hub.netmap.generation
            try:
                await self.look()
            except NetvpsError as error:
                log.warning("where the gateway is cannot be written", error=error.message)
            await asyncio.sleep(_PAUSE)
            if self._hub.netmap.generation == seen:
                with suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(*_TIMER)):  # noqa: S311 — no secret
                        await self._hub.news()

    async def look(self) -> None:
        """Writes what is to be written. Raises NetvpsError."""
        now, here = self._clock(), self._here()
        uid = here.runner if here else ""
        if uid != self._runner:
            log.info("gateway on the overlay", runner=here.name if here else "none: there is no runner's device here")
            self._runner = uid
        if here and self._left(uid, now) < RENEWED:
            await self._write(uid, lambda _: now + LIFE)
        for peer in list(self._hub.netmap.peers.values()):
            if (row := self._hub.runner(peer.runner)) and row.gateway_only and now - row.last_seen > FORGOTTEN:
                await self._forget(peer.runner, now)
            elif peer.gateway and self._left(peer.runner, now) < timedelta():
                await self._write(peer.runner, lambda until: until if until and until > now else None)

    def _here(self) -> Peer | None:
        mac = self._mac()
        return next((peer for peer in self._hub.netmap.peers.values() if mac and peer.mac == mac), None)

    def _left(self, uid: str, now: datetime) -> timedelta:
        runner = self._hub.runner(uid)
        return runner.gateway_until - now if runner and runner.gateway_until else timedelta()

    async def _write(self, uid: str, until: Callable[[datetime | None], datetime | None]) -> None:
        async with self._store.write("gateway") as tx:
            runner = await tx.get(Runner, uid)
            if runner and runner.gateway_until != (wanted := until(runner.gateway_until)):
                told = replace(runner, gateway_until=wanted)
                await tx.put(self._heard(told) if runner.gateway_only else told)

    def _heard(self, row: Runner) -> Runner:
        """Of a server's own place nobody else hears."""
        if row.gateway_until is None:
            return replace(row, state=RunnerState.OFFLINE)
        return replace(row, state=RunnerState.ONLINE, last_seen=self._clock())

    async def _forget(self, uid: str, now: datetime) -> None:
        async with self._store.write("gateway") as tx:
            row = await tx.get(Runner, uid)
            if row and now - row.last_seen > FORGOTTEN:
                await remove_runner(tx, row.name, force=False)
                log.info("the place of a server that is gone is removed", gateway=row.name)
