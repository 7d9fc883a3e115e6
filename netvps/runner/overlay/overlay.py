"""The overlay of this machine: one loop that reconciles it with the netmap.

    link ──► netmap, lease ──┐
    kernel events ───────────┼──► one loop, coalesced ──► Reconciler.make(view)
    timer ───────────────────┘

Nothing that it creates depends on this process: packets flow while it is down, and a new process adopts everything.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Protocol

import structlog

from netvps.domain.overlay.conflicts import conflicting_lease_holder
from netvps.domain.overlay.kernel.operations import LinksChanged
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.domain.overlay.peer_health import MAX_PROBLEMS, Link, Problem
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay, Welcome
from netvps.errors import NetvpsError
from netvps.runner.overlay.links import Links
from netvps.runner.overlay.netmap_store import Known, NetmapStore
from netvps.runner.overlay.pending_netmap import PendingNetmap
from netvps.runner.overlay.ports import Kernel
from netvps.runner.overlay.reconcile import Outcome, Reconciler
from netvps.runner.overlay.repair_backoff import RepairBackoff

_TIMER = (30.0, 60.0)
_RETRY_MIN, _RETRY_MAX = 0.5, 15.0
_ABLE_SECONDS = 10.0
_SAVE_SECONDS = 1.0
_WORRY_SECONDS = 1.0
_SAVE_SHARE = 0.02
"""Share of the time, at most, spent on storing the netmap."""
log = structlog.get_logger()


class UnderlayCallback(Protocol):
    """Receives underlay changes; `moved` if the address changed, not only the MTU."""

    def __call__(self, *, moved: bool) -> None:
        """Must return quickly."""


def _ignore(*, moved: bool) -> None:
    """Default before a runner is attached."""


class Overlay:
    """Call `prepare` before the first Hello, then `run`; cancelling leaves everything in place."""

    def __init__(
        self,
        runner: str,
        kernel: Kernel,
        reconciler: Reconciler,
        store: NetmapStore,
        links: Links,
        *,
        hosting: bool = True,
    ) -> None:
        """`runner` is its uid; `hosting`: sessions may run here."""
        self._runner = runner
        self._kernel = kernel
        self._reconciler = reconciler
        self._store = store
        self._links = links
        self._hosting = hosting
        links.changed = self._take_health
        self.on_underlay_change: UnderlayCallback = _ignore
        """Called when the control plane must learn of the underlay at once."""
        self.on_problems_change: Callable[[], None] = lambda: None
        """Called when the control plane must learn of problems at once."""
        self._staging = PendingNetmap(Netmap())
        self._overlay_settings: OverlaySettings | None = None
        self._lease: Lease | None = None
        self._offered: Lease | None = None
        """A subnet offered instead of the one in use; taken once no container uses the old one."""
        self._current = False
        """The netmap came from the control plane, not from disk."""
        self._underlay: Underlay | None = None
        self._underlay_in_doubt = False
        self._unable = ""
        self._local_problems: tuple[str, ...] = ()
        self._wake = asyncio.Event()
        self._dirty = asyncio.Event()
        self._urgent = asyncio.Event()
        """New input arrived from outside the kernel; unlike kernel events, it is not subject to the repair backoff."""
        self._problems_changed = asyncio.Event()

    @property
    def underlay(self) -> Underlay | None:
        """This machine's address on the underlay network; None: it has none."""
        return self._underlay

    @property
    def generation(self) -> int:
        """The generation of the known netmap, to resume from."""
        return self._staging.generation

    @property
    def digest(self) -> str:
        """The digest of that netmap; '' if none is known."""
        return self._staging.netmap.digest if self._staging.generation else ""

    @property
    def local_problems(self) -> tuple[str, ...]:
        """Present problems of this machine, as text."""
        return (self._unable,) if self._unable else self._local_problems

    @property
    def problems(self) -> tuple[Problem, ...]:
        """These and the links' problems, for the control plane: bounded, and equal while nothing changes."""
        return tuple(dict.fromkeys((*map(Problem, self.local_problems), *self._links.problems)))[:MAX_PROBLEMS]

    async def prepare(self) -> None:
        """Checks what this machine supports, and loads the stored state."""
        before = self._unable
        try:
            self._unable = await self._reconciler.unable()
        except NetvpsError as error:
            self._unable = error.message
        if self._unable:
            if self._unable != before:
                log.warning("this runner has no overlay; its sessions get Docker networks", error=self._unable)
            return
        if not self._current and (known := await asyncio.to_thread(self._store.load)):
            self._overlay_settings, self._lease = known.overlay_settings, known.lease
            self._links.remember(known.health)
            self._staging = PendingNetmap(known.netmap)
        await self._detect_underlay()

    def welcome(self, welcome: Welcome) -> None:
        """Begins a connection, with the cluster's settings and this runner's lease."""
        self._staging.begin()
        self._overlay_settings = welcome.overlay_settings
        self._take_lease(welcome.lease)
        self._dirty.set()
        self._hurry()

    def update(self, update: NetmapUpdate) -> None:
        """Applies an update of the netmap. Raises DataLoss if this connection must be replaced."""
        if self._staging.apply(update):
            self._current = True
            self._dirty.set()
            self._hurry()

    def reload_ports(self) -> None:
        """Makes the next pass read the bridge ports again, after a container started or ended."""
        self._reconciler.reload_ports()
        self._hurry()

    async def probe(self, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """Measures the links to these runners (uids) now; omits runners without a link."""
        return await self._links.probe(peers)

    async def run(self) -> None:
        """Runs until cancelled; first waits until this machine supports the overlay."""
        while self._unable:
            await asyncio.sleep(_ABLE_SECONDS)
            await self.prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="kernel events")
            group.create_task(self._keep(), name="overlay")
            group.create_task(self._keep_saving(), name="netmap on disk")
            group.create_task(self._links.run(), name="links")
            group.create_task(self._announce_problems(), name="problems")

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
                    log.debug("kernel changed", change=str(event))
                    self._underlay_in_doubt = self._underlay_in_doubt or isinstance(event, LinksChanged)
                    self._wake.set()

    async def _keep(self) -> None:
        failures, contest = 0, RepairBackoff()
        while True:
            self._wake.clear()
            self._urgent.clear()
            looking = self._reconciler.must_look
            try:
                outcome = await self._reconcile()
            except NetvpsError as error:
                outcome = Outcome(0, (error.message,))
            except Exception:  # a bug in one pass must not end the loop
                log.exception("bug in a reconcile pass of the overlay")
                outcome = Outcome(0, ("a bug of netvps; the runner's log has the details",))
            self._log_problems(outcome.failures)
            failures = failures + 1 if outcome.failures else 0
            if looking and outcome.operations:
                await self._rest(contest.pause(asyncio.get_running_loop().time()))
            await self._sleep(failures)

    def _hurry(self) -> None:
        self._urgent.set()
        self._wake.set()

    async def _rest(self, seconds: float) -> None:
        """Waits after a repair; new input ends the wait."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._urgent.wait()

    async def _sleep(self, failures: int) -> None:
        """Waits for an event or the timer: some changes by other programs cause no event."""
        pause = random.uniform(*_TIMER)  # noqa: S311 — no secret
        if failures:
            pause = min(_RETRY_MAX, _RETRY_MIN * 2.0 ** min(failures - 1, 10)) * random.uniform(0.75, 1.25)  # noqa: S311
        try:
            async with asyncio.timeout(pause):
                await self._wake.wait()
        except TimeoutError:
            self._underlay_in_doubt = True
            self._reconciler.doubt()

    async def _reconcile(self) -> Outcome:
        if self._underlay_in_doubt or self._underlay is None:
            self._underlay_in_doubt = False  # before the await: a change meanwhile sets it again
            await self._detect_underlay()
        if self._offered:
            await self._move()
        if not (self._overlay_settings and self._lease and self._underlay):
            return Outcome(0, self._local_problems if self._underlay is None else ())
        if not self._staging.netmap.generation:
            return Outcome(0, ())
        health = self._links.health
        netmap = self._staging.netmap
        view = View(self._runner, self._overlay_settings, self._lease, self._underlay, netmap, health, self._hosting)
        fault = self._reason_to_withdraw(view)
        outcome = await self._reconciler.make(view, forward=not fault, current=self._current)
        await (self._links.withdrawn() if fault else self._links.programmed(view))
        return Outcome(outcome.operations, (*outcome.failures, *([fault] if fault else [])))

    def _reason_to_withdraw(self, view: View) -> str:
        """Returns why this runner must not use the overlay with this lease; '' if it may."""
        if self._offered:
            return (
                f"the server gave this runner the subnet {self._offered.cidr} instead of {view.lease.cidr}, and "
                "sessions "
                "run on the old one: they have no overlay until they are stopped and started again"
            )
        if other := conflicting_lease_holder(view.netmap, self._runner, view.lease):
            return f"the subnet {view.lease.cidr} was given to runner {other}; this runner waits for another subnet"
        return ""

    async def _move(self) -> None:
        """Switches to the offered subnet if no container uses the old one."""
        if not await self._reconciler.vacate():
            return
        log.warning(
            "changing the subnet", old=self._lease and self._lease.cidr, new=self._offered and self._offered.cidr
        )
        self._lease, self._offered = self._offered, None
        self._dirty.set()

    async def _detect_underlay(self) -> None:
        """Detects the underlay; keeps the last one while there is none, as it most likely returns."""
        try:
            found = await self._kernel.underlay()
        except NetvpsError as error:
            if self._underlay is None:
                self._log_problems((error.message,))
            else:
                log.warning("the underlay is lost; keeping the last one", error=error.message)
            return
        if found != self._underlay:
            log.info("underlay", addresses=found.addresses, mtu=found.mtu)
            before, self._underlay = self._underlay, found
            self.on_underlay_change(moved=before is not None and before.addresses != found.addresses)

    def _log_problems(self, problems: tuple[str, ...]) -> None:
        """Logs new problems, once each."""
        for problem in problems:
            if problem not in self._local_problems:
                log.error("overlay", error=problem)
        if self._local_problems and not problems:
            log.info("the overlay works again")
        if self._local_problems != problems:
            self._problems_changed.set()
        self._local_problems = problems

    def _take_health(self) -> None:
        self._wake.set()
        self._dirty.set()
        self._problems_changed.set()

    async def _announce_problems(self) -> None:
        """Calls `on_problems_change`, rate-limited: a fault of one link mostly affects several."""
        announced: tuple[Problem, ...] = ()
        while True:
            await self._problems_changed.wait()
            self._problems_changed.clear()
            if self.problems != announced:
                announced = self.problems
                self.on_problems_change()
            await asyncio.sleep(_WORRY_SECONDS)

    async def _keep_saving(self) -> None:
        loop, took = asyncio.get_running_loop(), 0.0
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._overlay_settings and self._lease and self._current:
                known = Known(self._overlay_settings, self._lease, self._staging.netmap, self._links.health)
                write = self._store.writer(known)
                began = loop.time()
                try:
                    await asyncio.to_thread(write)
                except OSError as error:
                    log.warning("cannot store the netmap; retrying with its next change", error=str(error))
                took = loop.time() - began  # a large netmap takes seconds, and may change continuously
            await asyncio.sleep(max(_SAVE_SECONDS, took / _SAVE_SHARE))
