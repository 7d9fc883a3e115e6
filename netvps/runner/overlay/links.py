"""Monitors the links to the other runners and derives route MTUs and problems from their state.

    netmap ──► new, changed ───┐
    timer ───► a few, sampled ─┼──► LinkTable ──► examinations ──► health (routes' MTU), problems
    backoff ─► failing ones ───┘                        └──► the first good one: self-test by TCP

Not all to all: a link is examined when it appears, and later by sampling or because it is in use.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Final

import structlog

from netvps.domain.overlay.netmap import Peer
from netvps.domain.overlay.peer_health import (
    Health,
    Link,
    LinkState,
    LinkTable,
    Measured,
    Problem,
    Target,
    TcpOutcome,
    link,
    why,
)
from netvps.domain.overlay.settings import endpoint_address
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Underlay
from netvps.errors import NetvpsError
from netvps.runner.overlay.measure import measure
from netvps.runner.overlay.ports import Kernel, Prober, TcpProbe
from netvps.runner.overlay.self_test import PATIENCE, SelfTest, broken
from netvps.tasks import Tasks

_AT_ONCE: Final = 16
_SAMPLE_SECONDS: Final = (15.0, 30.0)
_SAMPLE: Final = 3
"""Links sampled per round, in addition to those in use."""
_NEW_PER_SECOND: Final = 50.0
_TEST_PAUSE, _LONG_TEST_PAUSE = 20.0, 600.0
_APPLIED_SECONDS: Final = 30.0
log = structlog.get_logger()


class Links:
    """The links of a runner. `run` it, and call `programmed` after changes of the kernel."""

    def __init__(self, name: str, prober: Prober, tcp: TcpProbe, kernel: Kernel) -> None:
        """`name` is the runner's."""
        self._name = name
        self._prober = prober
        self._tcp = tcp
        self._kernel = kernel
        self._table = LinkTable()
        self._peers: Mapping[str, Peer] = {}
        self._underlay: Underlay | None = None
        self._examined: dict[str, float] = {}
        """Time of the last examination, by peer."""
        self._examining = 0
        self._tasks = Tasks()
        self._changed = asyncio.Event()
        self._applied = asyncio.Condition()
        self._in_kernel = Health()
        self._self_test = SelfTest(self._put_offload)
        self._test_due = 0.0
        """When to test TCP with a good peer; inf: tested."""
        self._testing = False
        self._broken: Problem | None = None
        self._refusal = ""
        """The last reason logged for not serving the self-test."""
        self.health = Health()
        """What the kernel should use: route MTUs and checksum offload."""
        self.problems: tuple[Problem, ...] = ()
        """Present problems; the same object while nothing changes."""
        self.changed: Callable[[], None] = lambda: None
        """Called when `health` or `problems` change."""

    def remember(self, health: Health) -> None:
        """Restores the findings of an earlier process; call it before anything is programmed."""
        self.health = health
        self._table.remember(health.mtus)

    async def programmed(self, view: View) -> None:
        """Records that the kernel matches this view, so that new links in it can be examined."""
        moved = self._underlay is not None and self._underlay.addresses != view.underlay.addresses
        if self._peers is not view.netmap.peers or self._underlay != view.underlay:
            self._aim(view, all_again=self._underlay != view.underlay)
        if moved:  # perhaps another network card
            self._test_due = 0.0
            self._publish(offload=True)
        async with self._applied:
            self._in_kernel = view.health
            self._applied.notify_all()
        try:
            await self._tcp.serve(endpoint_address(view.lease.cidr), view.overlay_settings.port, self._endpoints)
        except NetvpsError as error:
            if error.message != self._refusal:
                log.warning("cannot serve the TCP self-test of other runners", error=error.message)
            self._refusal = error.message

    async def withdrawn(self) -> None:
        """Records that this runner left the overlay: there are no links."""
        for peer in list(self._peers):
            self._table.forget(peer)
        self._peers, self._underlay = {}, None
        await self._tcp.close()
        self._publish()

    async def run(self) -> None:
        """Runs until cancelled."""
        if not self._prober.able:
            return
        loop = asyncio.get_running_loop()
        sample_at = loop.time() + random.uniform(*_SAMPLE_SECONDS)  # noqa: S311 — no secret
        async with self._tasks:
            while True:
                self._changed.clear()
                if (now := loop.time()) >= sample_at:
                    await self._sample(now)
                    sample_at = now + random.uniform(*_SAMPLE_SECONDS)  # noqa: S311 — no secret
                for target in self._table.begin(now, _AT_ONCE - self._examining):
                    self._examining += 1
                    self._tasks.start(self._examine(target), name=f"link to {target.name}")
                if now >= self._test_due and not self._testing and (well := list(self._table.known())):
                    self._test(random.choice(well))  # noqa: S311 — no secret
                until = sample_at if self._examining == _AT_ONCE else min(self._table.next_due, sample_at)
                await self._wait(min(until, self._test_due) if self._test_due > now else until)

    async def probe(self, peers: Iterable[str]) -> tuple[Link, ...]:
        """Measures the links to these peers now, within about 5 s; omits peers without a link."""
        if not self._prober.able:
            return ()
        targets = [target for peer in dict.fromkeys(peers) if (target := self._table.target(peer))]
        found = await asyncio.gather(*(measure(self._prober, target) for target in targets))
        for target, measured in zip(targets, found, strict=True):
            self._took(target, measured)
        return tuple(map(link, targets, found))

    def _aim(self, view: View, *, all_again: bool) -> None:
        peers = view.netmap.peers
        for gone in self._peers.keys() - peers.keys():
            self._table.forget(gone)
            self._examined.pop(gone, None)
        others = [peer for uid, peer in peers.items() if uid != view.runner]
        now, spread = asyncio.get_running_loop().time(), len(others) / _NEW_PER_SECOND
        for peer in others:
            if not all_again and self._peers.get(peer.runner) is peer:
                continue
            if target := view.target(peer, self._name):
                # Spread out for thousands of peers, also so that not all of them probe a new one at once.
                self._table.aim(target, now + random.uniform(0, spread))  # noqa: S311 — no secret
            else:
                self._table.forget(peer.runner)
        self._peers, self._underlay = peers, view.underlay
        self._publish()
        self._changed.set()

    def _endpoints(self) -> frozenset[str]:
        return frozenset(endpoint_address(peer.lease.cidr) for peer in self._peers.values())

    async def _wait(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _sample(self, now: float) -> None:
        """Schedules a few random links and those in use, where a fault is noticed first."""
        known = list(self._table.known())
        chosen = random.sample(known, min(_SAMPLE, len(known)))
        try:
            used = await self._kernel.used()
        except NetvpsError as error:
            log.debug("cannot read which links are in use", error=error.message)
            used = {}
        busy = [
            peer.runner for peer in self._peers.values() if self._in_use(peer.runner, now - used.get(peer.mac, inf))
        ]
        random.shuffle(busy)
        for uid in [*chosen, *busy][:_AT_ONCE]:
            self._table.doubt(uid, now)

    def _in_use(self, peer: str, last: float) -> bool:
        """Reports whether something was sent since the last examination, and recently; `last` is when."""
        examined = self._examined.get(peer)
        return examined is not None and last > max(examined + 1, asyncio.get_running_loop().time() - _SAMPLE_SECONDS[1])

    async def _examine(self, target: Target) -> None:
        try:
            self._took(target, await measure(self._prober, target))
        finally:
            self._examining -= 1
            self._changed.set()

    def _took(self, target: Target, found: Measured) -> None:
        now = asyncio.get_running_loop().time()
        self._examined[target.peer] = now
        state = found.state(target)
        if self._table.record(target, found, now, random.uniform(0.75, 1.25)):  # noqa: S311 — no secret
            if state is LinkState.UP:
                log.info("link recovered", peer=target.name)
            else:
                log.warning("link degraded", peer=target.name, state=str(state), error=why(target, found))
            self._publish()
        elif state is not LinkState.UP:
            self._publish()
        self._changed.set()

    def _test(self, peer: str) -> None:
        if target := self._table.target(peer):
            self._test_due, self._testing = inf, True
            self._tasks.start(self._tested(target), name="self-test")

    async def _tested(self, target: Target) -> None:
        try:
            await self._self_tested(target)
        finally:
            self._testing = False
            self._changed.set()

    async def _self_tested(self, target: Target) -> None:
        """Tests TCP and decides on checksum offload; schedules another test if the result is unclear."""
        before = self.health.checksum_offload
        outcome = await self._self_test.run(
            lambda: self._tcp.exchange(target.address, target.port, target.mtu), offload=before
        )
        if (offload := self.health.checksum_offload) != before:
            log.warning(
                "changed the overlay's checksum offload because of the TCP self-test", on=offload, to=target.name
            )
        lasting = self._self_test.failures >= PATIENCE
        self._broken = broken(target) if outcome is TcpOutcome.BROKEN and lasting else None
        log.info("self-test of TCP", peer=target.name, outcome=str(outcome))
        if outcome is not TcpOutcome.GOOD:
            pause = (_LONG_TEST_PAUSE if lasting else _TEST_PAUSE) * random.uniform(0.75, 1.25)  # noqa: S311
            self._test_due = min(self._test_due, asyncio.get_running_loop().time() + pause)
        self._publish()

    async def _put_offload(self, offload: bool) -> None:
        """Sets offload; returns when the kernel has it, or after a timeout."""
        self._publish(offload=offload)
        try:
            async with asyncio.timeout(_APPLIED_SECONDS), self._applied:
                await self._applied.wait_for(lambda: self._in_kernel.checksum_offload == offload)
        except TimeoutError:
            log.warning("the overlay's checksum offload was not changed in time")

    def _publish(self, *, offload: bool | None = None) -> None:
        """Computes health and problems; calls `changed` if they differ."""
        offload = self.health.checksum_offload if offload is None else offload
        health = Health(self._table.mtus, offload)
        problems = self._table.problems(asyncio.get_running_loop().time())
        found = tuple([self._broken, *problems] if self._broken else problems)
        if (health, found) != (self.health, self.problems):
            self.health, self.problems = health, found
            self.changed()
