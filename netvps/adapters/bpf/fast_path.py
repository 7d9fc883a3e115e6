"""Keeps the fast path attached where the kernel supports it; elsewhere packets use the slow path."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import structlog

from netvps.adapters.bpf.placed import Placed
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.view import View
from netvps.errors import NetvpsError, Unavailable

log = structlog.get_logger()
Inside = Callable[[], AbstractContextManager[None]]


class FastPath:
    """The fast path. Load the packet filter first: the fast path accepts nothing that the filter would not."""

    def __init__(self, names: ObjectNames = OBJECT_NAMES, *, wanted: bool = True, inside: Inside = nullcontext) -> None:
        """`inside` enters the network namespace of the interfaces, for the calling thread.

        With `wanted` false, programs of an earlier run are removed and none are loaded.
        """
        self._wanted = wanted
        self._inside = inside
        self._placed = Placed(names)
        self._turn = threading.Lock()
        """A thread continues after the task that awaits it was cancelled: only one may run at a time."""
        self._resting = False
        """Refused by the kernel since the last `look`."""
        self._refusal = ""
        """The last reason logged."""
        self._view: View | None = None
        """The view that the kernel's state follows from; None: unknown."""

    async def load(self, view: View, ports: Mapping[str, str], change: Change | None = None) -> None:
        """Applies `view`; `ports` are sessions' interfaces by address. Removes the fast path if the kernel refuses it.

        `change`, the difference to the view loaded last, limits the work to its size. Raises a NetvpsError only if an
        older fast path could not be removed.
        """
        if not self._wanted or self._resting or not view.hosting:
            await self.remove()
            return
        known, self._view = self._view, None
        since = change if known and change and change.since is known else None
        try:
            await self._run(lambda: self._placed.load(view, ports, since))
        except NetvpsError as error:
            self._rest(error.message)
        else:
            self._view = view
            return
        await self.remove()

    async def check_attached(self) -> None:
        """Checks that the programs are still attached; the next `load` restores them and retries refusals."""
        self._resting = False
        try:
            await self._run(self._placed.check_attached)
        except NetvpsError as error:
            log.debug("fast path not inspected", why=error.message)

    async def remove(self) -> None:
        """Removes the fast path, also one of an earlier process. Raises a NetvpsError."""
        self._view = None
        await self._run(self._placed.remove)

    async def _run(self, work: Callable[[], None]) -> None:
        """Runs `work` in a thread, without a timeout: the kernel answers at once, and netlink has its own timeout."""

        def run() -> None:
            with self._turn, self._inside():
                try:
                    work()
                except OSError as error:
                    raise Unavailable(
                        f"the kernel refuses BPF: {error.strerror}; use Linux 5.10 or later with CAP_BPF, "
                        "or set --overlay-fast-path off"
                    ) from error

        await asyncio.to_thread(run)

    def _rest(self, why: str) -> None:
        self._resting = True
        if why != self._refusal:
            log.warning(
                "no fast path; packets between sessions use the slower path through the machine's rules", why=why
            )
        self._refusal = why
