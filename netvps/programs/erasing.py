"""All of the overlay is taken off this machine, but for the container engine's part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.overlay.diff import diff
from netvps.domain.overlay.links import OBJECT_NAMES, KernelState, ObjectNames
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from netvps.runner.overlay.ports import Filter, Kernel


async def erase(kernel: Kernel, filter_: Filter, names: ObjectNames = OBJECT_NAMES) -> int:
    """Returns how many operations on the kernel that took. Raises Unavailable with what could not be removed."""
    await filter_.remove()
    operations = diff(KernelState(), await kernel.dump(), names)
    if failures := await kernel.apply(operations):
        raise Unavailable("; ".join(failure.why for failure in failures))
    return len(operations)
