"""Records on which runner's machine this server is, so that its gateway may use the overlay (ADR 0013).

No runner is asked. A VXLAN device in this process's network namespace with the MAC of a runner in the netmap belongs
to that runner. The store then records for some minutes at a time that this runner hosts a gateway, so that other
runners admit its machine to the SSH servers of their sessions. Any server removes records that were not renewed.
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

from netvps.domain.overlay.settings import bridge_address, endpoint_address
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.domain.overlay.netmap import Peer
    from netvps.services.network.netmap import NetmapHub
    from netvps.services.ports import Clock, Store

log = structlog.get_logger()

LIFE: Final = timedelta(minutes=10)
RENEWED: Final = timedelta(minutes=5)
"""Remaining lifetime at which the record is renewed."""
_TIMER: Final = (30.0, 60.0)
_PAUSE: Final = 1.0
"""Minimum seconds between two checks, however often the netmap changes."""


class Route(NamedTuple):
    """The addresses of a connection to a session: the session's, and the local one."""

    source: str
    address: str
    epoch: int = 0
    """Of the session's place; 0: not known. A container of an earlier epoch may still answer at the address."""


class GatewayLocation:
    """Records in the store on which runner's machine this server is. `run` is a task of the program."""

    def __init__(self, store: Store, clock: Clock, hub: NetmapHub, mac: Callable[[], str]) -> None:
        """`mac` returns the MAC of this namespace's overlay device, or ''."""
        self._store, self._clock, self._hub, self._mac = store, clock, hub, mac
        self._runner = ""

    def route_to(self, session_uid: str) -> Route | None:
        """The addresses to reach a session; None if it has none, or this server is not on the overlay."""
        netmap = self._hub.netmap
        here, there = netmap.peers.get(self._runner), netmap.endpoints.get(session_uid)
        if here is None or not here.gateway or there is None:
            return None
        in_subnet = IPv4Address(there.address) in IPv4Network(here.lease.cidr)
        own = there.runner == here.runner if there.runner else in_subnet
        # Within the local subnet the .0 is no host address, so the bridge's address is used.
        source = bridge_address if own else endpoint_address
        return Route(source(here.lease.cidr), there.address)

    async def locate(self, session_uid: str) -> Route | None:
        """`route_to`, with the epoch of the session's place. Raises NetvpsError."""
        route = self.route_to(session_uid)
        if route is None:
            return None
        async with self._store.read() as reader:
            session = await reader.get(Session, session_uid)
        return route._replace(epoch=session.epoch) if session else None

    async def run(self) -> None:
        """Checks now, when the netmap changes, and periodically, until cancelled."""
        await self._hub.loaded()
        while True:
            checked = self._hub.netmap.generation
            try:
                await self.check()
            except NetvpsError as error:
                log.warning("cannot record the gateway's runner", error=error.message)
            await asyncio.sleep(_PAUSE)
            if self._hub.netmap.generation == checked:
                with suppress(TimeoutError):
                    async with asyncio.timeout(random.uniform(*_TIMER)):  # noqa: S311 — no secret
                        await self._hub.news()

    async def check(self) -> None:
        """Checks once and writes what changed. Raises NetvpsError."""
        now, here = self._clock(), self._here()
        uid = here.runner if here else ""
        if uid != self._runner:
            log.info("gateway on the overlay", runner=here.name if here else "none: there is no runner's device here")
            self._runner = uid
        if here and self._left(uid, now) < RENEWED:
            await self._write(uid, lambda _: now + LIFE)
        for peer in list(self._hub.netmap.peers.values()):
            if peer.gateway and self._left(peer.runner, now) < timedelta():
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
                await tx.put(replace(runner, gateway_until=wanted))
