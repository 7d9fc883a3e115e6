"""Removes the overlay from this machine, except for the container engine's network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, KernelState, ObjectNames
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from netvps.runner.overlay.ports import Filter, Kernel


async def erase(kernel: Kernel, filter_: Filter, names: ObjectNames = OBJECT_NAMES) -> int:
    """Returns the number of kernel operations. Raises Unavailable with the objects that could not be removed."""
    await filter_.remove()
    operations = diff(KernelState(), await kernel.dump(), names)
    if failures := await kernel.apply(operations):
        raise Unavailable("; ".join(failure.why for failure in failures))
    return len(operations)
