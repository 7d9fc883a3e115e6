"""Keeps the fast path at the links, where the kernel has what it takes; where not, packets go the long way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

import structlog

from netvps.adapters.bpf.placed import Placed
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames
from netvps.domain.overlay.view import View
from netvps.errors import NetvpsError, Unavailable

log = structlog.get_logger()
Inside = Callable[[], AbstractContextManager[None]]


class FastPath:
    """Goes with the packet filter, which is to be loaded before: it takes no packet that the filter would not."""

    def __init__(self, names: ObjectNames = OBJECT_NAMES, *, wanted: bool = True, inside: Inside = nullcontext) -> None:
        """`inside` makes a thread be in the namespace of the links.

        Not `wanted`: what an earlier run may have left is removed, and nothing is loaded.
        """
        self._wanted = wanted
        self._inside = inside
        self._placed = Placed(names)
        self._turn = threading.Lock()
        """A thread goes on after whoever awaits it was cancelled."""
        self._resting = False
        """Whether it was refused since the last look."""
        self._refusal = ""
        """Why there is none, as it was said last."""
        self._view: View | None = None
        """What is in the kernel follows from it; None: that is not known."""

    async def load(self, view: View, ports: Mapping[str, str], change: Change | None = None) -> None:
        """Has it for this view and these links of sessions, by address; or none, where it cannot be.

        With how the view differs from the one loaded last, it costs as much as that is. Raises a NetvpsError only if
        an older one could not be removed.
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

    async def look(self) -> None:
        """Whether it is at its links still: where not, the next `load` puts it there.

        What was refused is tried again then.
        """
        self._resting = False
        try:
            await self._run(self._placed.look)
        except NetvpsError as error:
            log.debug("the fast path was not looked at", why=error.message)

    async def remove(self) -> None:
        """Removes it, whoever left it; what is gone is no error. Raises a NetvpsError."""
        self._view = None
        await self._run(self._placed.remove)

    async def _run(self, work: Callable[[], None]) -> None:
        """The kernel answers at once; what netlink answers has a limit in time of its own."""

        def run() -> None:
            with self._turn, self._inside():
                try:
                    work()
                except OSError as error:
                    raise Unavailable(
                        f"the kernel refuses BPF: {error.strerror}; it takes Linux 5.10 and CAP_BPF"
                    ) from error

        await asyncio.to_thread(run)

    def _rest(self, why: str) -> None:
        self._resting = True
        if why != self._refusal:
            log.warning("packets between sessions go the long way, which is slower; all else is as ever", why=why)
        self._refusal = why
