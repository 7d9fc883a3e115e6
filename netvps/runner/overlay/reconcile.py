"""Makes what is on this machine like what a view says: one round, from looking to done."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace

import structlog

from netvps.domain.overlay.change import Change, Tracker
from netvps.domain.overlay.conflicts import in_the_way
from netvps.domain.overlay.diff import additions, as_wanted, diff, patched
from netvps.domain.overlay.links import OBJECT_NAMES, KernelState, ObjectNames
from netvps.domain.overlay.news import EntryChanged, KernelEvent, PortChanged
from netvps.domain.overlay.operations import Operation
from netvps.domain.overlay.plan import plan, withdrawn
from netvps.domain.overlay.view import View
from netvps.errors import ConfigError, NetvpsError
from netvps.runner.overlay.ports import ContainerNetwork, Filter, Kernel, Names

_FEW = 8
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to."""

    operations: int
    troubles: tuple[str, ...]
    """What is not as it should be, and worth another try."""


class Reconciler:
    """The overlay's objects on this machine, all kinds. Not for two rounds at once."""

    def __init__(
        self,
        kernel: Kernel,
        network: ContainerNetwork,
        filter_: Filter,
        names: Names,
        objects: ObjectNames = OBJECT_NAMES,
    ) -> None:
        self._kernel = kernel
        self._network = network
        self._filter = filter_
        self._names = names
        self._objects = objects
        self._desired = KernelState()
        self._known: KernelState | None = None
        """What is in the kernel, by the last look and what was done since; None: look again."""
        self._doubts = 0
        self._ports_in_doubt = False
        self._tracker = Tracker()
        self._made: View | None = None
        """The view that all of what is known to be in the kernel follows from."""

    async def unable(self) -> str:
        """Why this machine can have no overlay, with what to do; '' if it can."""
        return await self._kernel.unable() or await self._filter.unable()

    @property
    def must_look(self) -> bool:
        """Whether the next round looks at everything."""
        return self._known is None

    def doubt(self) -> None:
        """Something may have changed: the next round looks again."""
        self._known = None
        self._doubts += 1

    def look(self) -> None:
        """Which port of the bridge is whose may have changed: the next round asks."""
        self._filter.look()
        self._ports_in_doubt = True

    def concerns(self, event: KernelEvent) -> bool:
        """Whether an event is a reason for a round: what it tells is not how it was left."""
        if isinstance(event, EntryChanged) and as_wanted(event.done, self._desired):
            return False
        if isinstance(event, PortChanged):
            self.look()
        else:
            self.doubt()
        return True

    async def make(self, view: View, *, forward: bool = True, current: bool = True) -> Outcome:
        """A round. `forward`: be part of the overlay, else only a bridge for sessions; `current`: the netmap is.

        Raises a NetvpsError where nothing was done.
        """
        doubts, looking = self._doubts, self.must_look
        attaching, self._ports_in_doubt = looking or self._ports_in_doubt, False
        actual = self._known or await self._kernel.dump()
        self._refuse_overlaps(view, actual)
        # The rules come before the way: a moment without them would be one without isolation.
        change = self._tracker.follow(view)
        await self._filtered(view, change, looking=looking, current=current)
        if change and change.since is self._made and not looking and forward:
            desired, operations = self._planned_in_part(change, actual)
        else:
            desired = plan(view, self._objects)
            desired = desired if forward else withdrawn(desired, self._objects)
            operations = diff(desired, actual, self._objects)
        if not current:
            operations = additions(operations, actual)
        self._desired, self._known, self._made = desired, None, None
        troubles = await self._apply(operations)
        if desired.bridge and looking:
            troubles += await _tried(self._network.ensure(view.lease.cidr, desired.bridge))
        if desired.bridge and attaching:
            troubles += await _tried(self._attach())
        troubles += await _tried(self._names.serve(view))
        if current and not troubles and doubts == self._doubts:
            self._known = replace(desired, foreign=actual.foreign)
            self._made = view if forward else None
        return Outcome(len(operations), tuple(troubles))

    async def _filtered(self, view: View, change: Change | None, *, looking: bool, current: bool) -> None:
        if not current:
            # Kept some time ago. What came since is in the kernel, and packets go by that.
            await self._filter.add(view)
            return
        if looking and not await self._filter.loaded():
            log.debug("the filter is loaded anew")
        await self._filter.load(view, change)

    def _planned_in_part(self, change: Change, actual: KernelState) -> tuple[KernelState, tuple[Operation, ...]]:
        """What shall be, and the way there, by those that changed alone: the same as by all, for whatever number."""
        old, new = plan(change.old, self._objects), plan(change.new, self._objects)
        operations = diff(new, replace(old, foreign=actual.foreign), self._objects)
        return patched(self._desired, old, new), operations

    async def vacate(self) -> bool:
        """Removes the container network for another subnet; False if there are still containers that run on it."""
        self.doubt()
        if await self._network.ports():
            return False
        await self._network.remove()
        return True

    async def _apply(self, operations: tuple[Operation, ...]) -> list[str]:
        if not operations:
            return []
        log.info("overlay changes", operations=len(operations), first=[type(o).__name__ for o in operations[:_FEW]])
        failures = await self._kernel.apply(operations)
        return [failure.why for failure in failures]

    async def _attach(self) -> None:
        """What somebody took off the bridge, or what a bridge that was made anew has lost: no engine puts it back."""
        ports = await self._network.ports()
        await self._kernel.attach(frozenset(ports.values()))

    def _refuse_overlaps(self, view: View, actual: KernelState) -> None:
        if not (said := in_the_way(view.fabric.pool, actual.foreign)):
            return
        if actual.device is None:
            raise ConfigError(said)
        log.warning("the overlay goes on, but may take from others, or they from it", error=said)


async def _tried(work: Awaitable[None]) -> list[str]:
    try:
        await work
    except NetvpsError as error:
        return [error.message]
    return []
