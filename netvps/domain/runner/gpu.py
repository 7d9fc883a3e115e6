"""GPUs of a runner, and which of them a session gets. A GPU belongs to one session at a time."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from netvps.domain.names import SessionName

MAX_GPUS: Final = 64
"""Maximum number of GPUs of a runner, and of a session."""
GPU_ID: Final = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The UUID of a GPU, as NVML and `nvidia-smi -L` show it."""


_NAMED: Final = 8
"""Maximum number of GPUs in a message."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of a machine."""

    id: str
    """Its UUID, which no other GPU has."""
    name: str = ""
    memory_bytes: int = 0
    pci: str = ""
    """Its address on the PCI bus."""
    numa_node: int = -1
    """-1 if unknown."""


def allocate(
    count: int, gpus: Iterable[Gpu], held: Collection[str], *, named: Collection[str] = (), before: Collection[str] = ()
) -> tuple[str, ...] | None:
    """Chooses free GPUs, and returns their ids in order; None if there are not enough.

    `held` are the ids of GPUs that sessions have. With `named`, it is these and no others. `before` are preferred,
    because a container that was made with other GPUs has to be made again. Else all come from one NUMA node where
    possible: from the one with the fewest free GPUs, so that larger requests still fit elsewhere.
    """
    free = sorted({gpu.id: gpu for gpu in gpus if gpu.id not in held}.values(), key=_order)
    if named:
        found = tuple(gpu.id for gpu in free if gpu.id in named)
        return found if len(found) == len(named) else None
    if len(free) < count:
        return None
    again = [gpu for gpu in free if gpu.id in before][:count]
    rest = [gpu for gpu in free if gpu not in again]
    missing = count - len(again)
    nodes = [list(group) for _, group in groupby(rest, key=lambda gpu: gpu.numa_node)]
    fitting = [node for node in nodes if len(node) >= missing]
    chosen = [*again, *min(fitting, key=len, default=rest)[:missing]]
    return tuple(gpu.id for gpu in sorted(chosen, key=_order))


def ids_words(gpus: Collection[str]) -> str:
    """Ids of GPUs for people: "GPU-1, GPU-2"; "none"; the first few of many."""
    more = f" and {len(gpus) - _NAMED} more" if len(gpus) > _NAMED else ""
    return ", ".join([*gpus][:_NAMED]) + more or "none"


def holders_words(gpus: Iterable[str], holders: Mapping[str, SessionName], owner: str) -> str:
    """Who holds each of these GPUs, for `owner`: "GPU-1 (dev1.ann), GPU-2 (a session of another user)".

    Sessions of other owners are not named.
    """

    def holder(gpu: str) -> str:
        name = holders[gpu]
        return str(name) if name.owner == owner else "a session of another user"

    return ids_words([f"{gpu} ({holder(gpu)})" for gpu in gpus])


def _order(gpu: Gpu) -> tuple[int, str, str]:
    return gpu.numa_node, gpu.pci, gpu.id
