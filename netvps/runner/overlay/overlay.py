"""The overlay of this machine: one loop that makes and keeps it as the netmap says.

    link ──► netmap, lease ──┐
    kernel events ───────────┼──► one loop, coalesced ──► Reconciler.make(view)
    timer ───────────────────┘

Nothing that it makes needs this process: packets flow while it is away, and it takes up what it finds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Protocol

import structlog

from netvps.domain.overlay.conflicts import conflicting_lease_holder
from netvps.domain.overlay.fabric import Fabric
from netvps.domain.overlay.health import MAX_PROBLEMS, Link, Problem
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.domain.overlay.news import LinksChanged
from netvps.domain.overlay.view import View
from netvps.domain.runner import Lease, Underlay, Welcome
from netvps.errors import NetvpsError
from netvps.runner.overlay.contest import Contest
from netvps.runner.overlay.links import Links
from netvps.runner.overlay.memory import Known, Memory
from netvps.runner.overlay.ports import Kernel
from netvps.runner.overlay.reconcile import Outcome, Reconciler
from netvps.runner.overlay.staging import Staging

_TIMER = (30.0, 60.0)
_RETRY_MIN, _RETRY_MAX = 0.5, 15.0
_ABLE_SECONDS = 10.0
_SAVE_SECONDS = 1.0
_WORRY_SECONDS = 1.0
_SAVE_SHARE = 0.02
"""Of the time, at most, is for keeping the netmap on disk."""
log = structlog.get_logger()


class Told(Protocol):
    """Takes the news that the underlay is another; `moved` if it is its address, and not just what that can take."""

    def __call__(self, *, moved: bool) -> None:
        """Must not take long."""


def _nobody(*, moved: bool) -> None:
    """Before there is a runner."""


class Overlay:
    """`prepare` it before the first Hello, then `run` it; to cancel that leaves all as it is."""

    def __init__(
        self,
        runner: str,
        kernel: Kernel,
        reconciler: Reconciler,
        memory: Memory,
        links: Links,
        *,
        hosting: bool = True,
    ) -> None:
        """`runner` is its uid; `hosting`: sessions may run here."""
        self._runner = runner
        self._kernel = kernel
        self._reconciler = reconciler
        self._memory = memory
        self._links = links
        self._hosting = hosting
        links.changed = self._take_health
        self.on_change: Told = _nobody
        """Called when the control plane should hear of our underlay at once."""
        self.worried: Callable[[], None] = lambda: None
        """Called when it should hear of our problems at once."""
        self._staging = Staging(Netmap())
        self._fabric: Fabric | None = None
        self._lease: Lease | None = None
        self._offered: Lease | None = None
        """Another subnet than the one in use; it is taken once nobody is on that any more."""
        self._current = False
        """Whether the netmap was told by the control plane, and not read from the disk."""
        self._underlay: Underlay | None = None
        self._underlay_in_doubt = False
        self._unable = ""
        self._troubles: tuple[str, ...] = ()
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._urgent = asyncio.Event()
        """It was told something, and did not see it in the kernel, where others may go on and on."""
        self._concern = asyncio.Event()

    @property
    def underlay(self) -> Underlay | None:
        """This machine's way into the overlay; None: it has none."""
        return self._underlay

    @property
    def generation(self) -> int:
        """Of the netmap that it knows, to resume from."""
        return self._staging.generation

    @property
    def digest(self) -> str:
        """Of that netmap; '' if it knows none."""
        return self._staging.netmap.digest if self._staging.generation else ""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong now, for people."""
        return (self._unable,) if self._unable else self._troubles

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The same with those of links, for the control plane: no more than it takes, and only news if they change."""
        return tuple(dict.fromkeys((*map(Problem, self.troubles), *self._links.problems)))[:MAX_PROBLEMS]

    async def prepare(self) -> None:
        """Sees what this machine can, and what was known last."""
        before = self._unable
        try:
            self._unable = await self._reconciler.unable()
        except NetvpsError as error:
            self._unable = error.message
        if self._unable:
            if self._unable != before:
                log.warning("this runner has no overlay", error=self._unable)
            return
        if not self._current and (known := await asyncio.to_thread(self._memory.load)):
            self._fabric, self._lease = known.fabric, known.lease
            self._links.remember(known.health)
            self._staging = Staging(known.netmap)
        await self._look_for_underlay()

    def welcome(self, welcome: Welcome) -> None:
        """A connection begins: the settings of all, and our lease."""
        self._staging.begin()
        self._fabric = welcome.fabric
        self._take_lease(welcome.lease)
        self._dirty.set()
        self._hurry()

    def update(self, update: NetmapUpdate) -> None:
        """What changed on the overlay. Raises DataLoss: this connection is of no use."""
        if self._staging.take(update):
            self._current = True
            self._dirty.set()
            self._hurry()

    def know(self, netmap: Netmap) -> None:
        """The whole netmap of now, where the control plane is this process: it need not be told in pieces."""
        self._staging = Staging(netmap)
        self._current = True
        self._hurry()

    def look(self) -> None:
        """A container started or ended here: which port of the bridge is whose may have changed."""
        self._reconciler.look()
        self._hurry()

    async def probe(self, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """How the links to these runners (uids) are now; those that there is none to are left out."""
        return await self._links.probe(peers)

    async def run(self) -> None:
        """For ever, until cancelled; where this machine can have no overlay, until it can."""
        while self._unable:
            await asyncio.sleep(_ABLE_SECONDS)
            await self.prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="kernel events")
            group.create_task(self._keep(), name="overlay")
            group.create_task(self._keep_saving(), name="netmap on disk")
            group.create_task(self._links.run(), name="links")
            group.create_task(self._keep_worrying(), name="problems")

    def _take_lease(self, offered: Lease) -> None:
        lease = self._lease
        if lease is None or (lease.cidr == offered.cidr and lease.epoch <= offered.epoch):
            self._lease, self._offered = offered, None
        elif lease.cidr == offered.cidr:
            log.error("older lease refused", subnet=offered.cidr, epoch=offered.epoch, known=lease.epoch)
        else:
            self._offered = offered

    async def _listen(self) -> None:
        async with aclosing(self._kernel.events()) as events:
            async for event in events:
                if self._reconciler.concerns(event):
                    log.debug("looking again", heard=str(event))
                    self._underlay_in_doubt = self._underlay_in_doubt or isinstance(event, LinksChanged)
                    self._wake.set()

    async def _keep(self) -> None:
        failures, contest = 0, Contest()
        while True:
            self._wake.clear()
            self._urgent.clear()
            looking = self._reconciler.must_look
            try:
                outcome = await self._round()
            except NetvpsError as error:
                outcome = Outcome(0, (error.message,))
            except Exception:  # a bug in one round must not leave the overlay alone for ever
                log.exception("bug in a round of the overlay")
                outcome = Outcome(0, ("a bug of netvps; the runner's log has the details",))
            self._say(outcome.troubles)
            failures = failures + 1 if outcome.troubles else 0
            if looking and outcome.operations:
                await self._rest(contest.pause(asyncio.get_running_loop().time()))
            await self._sleep(failures)

    def _hurry(self) -> None:
        self._urgent.set()
        self._wake.set()

    async def _rest(self, seconds: float) -> None:
        """From repairs, and from nothing else."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()

    async def _sleep(self, failures: int) -> None:
        """Until something happens, or it is time to look anyway: others may change what tells nobody."""
        pause = random.uniform(*_TIMER)  # noqa: S311 — no secret
        if failures:
            pause = min(_RETRY_MAX, _RETRY_MIN * 2.0 ** min(failures - 1, 10)) * random.uniform(0.75, 1.25)  # noqa: S311
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            self._underlay_in_doubt = True
            self._reconciler.doubt()

    async def _round(self) -> Outcome:
        if self._underlay_in_doubt or self._underlay is None:
            self._underlay_in_doubt = False  # before looking: what happens meanwhile is a doubt again
            await self._look_for_underlay()
        if self._offered:
            await self._move()
        if not (self._fabric and self._lease and self._underlay):
            return Outcome(0, self._troubles if self._underlay is None else ())
        if not self._staging.netmap.generation:
            return Outcome(0, ())
        health = self._links.health
        netmap = self._staging.netmap
        view = View(self._runner, self._fabric, self._lease, self._underlay, netmap, health, self._hosting)
        fault = self._not_ours(view)
        outcome = await self._reconciler.make(view, forward=not fault, current=self._current)
        await (self._links.withdrawn() if fault else self._links.programmed(view))
        return Outcome(outcome.operations, (*outcome.troubles, *([fault] if fault else [])))

    def _not_ours(self, view: View) -> str:
        """Why we must not be part of the overlay with this lease; '' if all is well."""
        if self._offered:
            return (
                f"the server gave this runner the subnet {self._offered.cidr} instead of {view.lease.cidr}, and "
                "sessions run on that: they are cut off until they are stopped and started again"
            )
        if other := conflicting_lease_holder(view.netmap, self._runner, view.lease):
            return f"the subnet {view.lease.cidr} was given to runner {other}: this one waits for another"
        return ""

    async def _move(self) -> None:
        """Takes the subnet that was offered, if nobody is on the old one."""
        if not await self._reconciler.vacate():
            return
        log.warning("another subnet", old=self._lease and self._lease.cidr, new=self._offered and self._offered.cidr)
        self._lease, self._offered = self._offered, None
        self._dirty.set()

    async def _look_for_underlay(self) -> None:
        """While it is lost, the last one stays in force: nothing better is known, and most likely it comes back."""
        try:
            found = await self._kernel.underlay()
        except NetvpsError as error:
            if self._underlay is None:
                self._say((error.message,))
            else:
                log.warning("the way to the others is lost; keeping what there is", error=error.message)
            return
        if found != self._underlay:
            log.info("underlay", addresses=found.addresses, mtu=found.mtu)
            before, self._underlay = self._underlay, found
            self.on_change(moved=before is not None and before.addresses != found.addresses)

    def _say(self, troubles: tuple[str, ...]) -> None:
        """Once, until it is something else."""
        for trouble in troubles:
            if trouble not in self._troubles:
                log.error("overlay", error=trouble)
        if self._troubles and not troubles:
            log.info("the overlay is well again")
        if self._troubles != troubles:
            self._concern.set()
        self._troubles = troubles

    def _take_health(self) -> None:
        self._wake.set()
        self._dirty.set()
        self._concern.set()

    async def _keep_worrying(self) -> None:
        """At most once in a while: what is wrong with one link is mostly wrong with some."""
        told: tuple[Problem, ...] = ()
        while True:
            await self._concern.wait()
            self._concern.clear()
            if self.problems != told:
                told = self.problems
                self.worried()
            await asyncio.sleep(_WORRY_SECONDS)

    async def _keep_saving(self) -> None:
        loop, took = asyncio.get_running_loop(), 0.0
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._fabric and self._lease and self._current:
                known = Known(self._fabric, self._lease, self._staging.netmap, self._links.health)
                write = self._memory.writer(known)
                began = loop.time()
                try:
                    await asyncio.to_thread(write)
                except OSError as error:
                    log.warning("the netmap is not kept", error=str(error))
                took = loop.time() - began  # a large map is seconds of work, and may change all the time
            await asyncio.sleep(max(_SAVE_SECONDS, took / _SAVE_SHARE))
