"""Reconciles this machine with a view of the overlay: one pass, from inspection to the result."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace

import structlog

from netvps.domain.overlay.change import Change, Tracker
from netvps.domain.overlay.conflicts import pool_conflict
from netvps.domain.overlay.kernel.diff import additions, as_wanted, diff, patched
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, KernelState, ObjectNames
from netvps.domain.overlay.kernel.operations import EntryChanged, KernelEvent, Operation, PortChanged
from netvps.domain.overlay.kernel.plan import plan, withdrawn
from netvps.domain.overlay.view import View
from netvps.errors import ConfigError, NetvpsError
from netvps.runner.overlay.ports import ContainerNetwork, Filter, Kernel, Names

_FEW = 8
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a pass."""

    operations: int
    failures: tuple[str, ...]
    """What failed and is worth a retry."""


class Reconciler:
    """The overlay's objects on this machine, of all kinds. Passes must not overlap."""

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
        """What is in the kernel, by the last dump and operations since; None: dump again."""
        self._doubts = 0
        self._ports_in_doubt = False
        self._tracker = Tracker()
        self._made: View | None = None
        """The view that everything known to be in the kernel follows from."""

    async def unable(self) -> str:
        """Returns why this machine cannot have an overlay, with what to do; '' if it can."""
        return await self._kernel.unable() or await self._filter.unable()

    @property
    def must_look(self) -> bool:
        """Whether the next pass dumps the kernel's state."""
        return self._known is None

    def doubt(self) -> None:
        """Makes the next pass dump the kernel's state again: something may have changed."""
        self._known = None
        self._doubts += 1

    def reload_ports(self) -> None:
        """Makes the next pass read the bridge ports again: they may have changed."""
        self._filter.reload_ports()
        self._ports_in_doubt = True

    def concerns(self, event: KernelEvent) -> bool:
        """Reports whether an event needs a pass: it shows a state that is not the desired one."""
        if isinstance(event, EntryChanged) and as_wanted(event.done, self._desired):
            return False
        if isinstance(event, PortChanged):
            self.reload_ports()
        else:
            self.doubt()
        return True

    async def make(self, view: View, *, forward: bool = True, current: bool = True) -> Outcome:
        """Does one pass. `forward` false: only a bridge for sessions, no overlay; `current`: the netmap is up to date.

        Raises a NetvpsError if nothing was done.
        """
        doubts, looking = self._doubts, self.must_look
        attaching, self._ports_in_doubt = looking or self._ports_in_doubt, False
        actual = self._known or await self._kernel.dump()
        self._refuse_overlaps(view, actual)
        # The filter before routes: in between, sessions would not be isolated.
        change = self._tracker.follow(view)
        await self._load_filter(view, change, looking=looking, current=current)
        if change and change.since is self._made and not looking and forward:
            desired, operations = self._plan_change(change, actual)
        else:
            desired = plan(view, self._objects)
            desired = desired if forward else withdrawn(desired, self._objects)
            operations = diff(desired, actual, self._objects)
        if not current:
            operations = additions(operations, actual)
        self._desired, self._known, self._made = desired, None, None
        failures = await self._apply(operations)
        if desired.bridge and looking:
            failures += await _tried(self._network.ensure(view.lease.cidr, desired.bridge))
        if desired.bridge and attaching:
            failures += await _tried(self._attach())
        failures += await _tried(self._names.serve(view))
        if current and not failures and doubts == self._doubts:
            self._known = replace(desired, foreign=actual.foreign)
            self._made = view if forward else None
        return Outcome(len(operations), tuple(failures))

    async def _load_filter(self, view: View, change: Change | None, *, looking: bool, current: bool) -> None:
        if not current:
            # A netmap from disk may be older than the rules in the kernel: add to them, remove nothing.
            await self._filter.add(view)
            return
        if looking and not await self._filter.loaded():
            log.debug("the packet filter changed; loading it again")
        await self._filter.load(view, change)

    def _plan_change(self, change: Change, actual: KernelState) -> tuple[KernelState, tuple[Operation, ...]]:
        """Computes the desired state and the operations from the changed objects alone."""
        old, new = plan(change.old, self._objects), plan(change.new, self._objects)
        operations = diff(new, replace(old, foreign=actual.foreign), self._objects)
        return patched(self._desired, old, new), operations

    async def vacate(self) -> bool:
        """Removes the container network for another subnet; False if containers still run on it."""
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
        """Restores the ports of a recreated bridge, and ports removed by other programs: the engine does not."""
        ports = await self._network.ports()
        await self._kernel.attach(frozenset(ports.values()))

    def _refuse_overlaps(self, view: View, actual: KernelState) -> None:
        if not (conflict := pool_conflict(view.overlay_settings.pool, actual.foreign)):
            return
        if actual.device is None:
            raise ConfigError(conflict)
        log.warning("other routes overlap with the overlay's pool; packets may take the wrong one", error=conflict)


async def _tried(work: Awaitable[None]) -> list[str]:
    try:
        await work
    except NetvpsError as error:
        return [error.message]
    return []
