"""What the kernel answers and tells of the overlay's objects."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.overlay.operations import EntryOperation, Operation


@dataclass(frozen=True, slots=True)
class Failure:
    """An operation that the kernel refused, and why, for people."""

    operation: Operation
    why: str


@dataclass(frozen=True, slots=True)
class EntryChanged:
    """Somebody, maybe we, changed a neighbour, an FDB entry or a route of ours: what was done, as an operation."""

    done: EntryOperation


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """A link or an address of this machine changed, or news were lost (`why`): look at all of it."""

    why: str


@dataclass(frozen=True, slots=True)
class PortChanged:
    """A port of the bridge came, went or changed: a container's end of it. Nothing else is in doubt for that."""

    link: str
    """Its name."""


KernelEvent = EntryChanged | LinksChanged | PortChanged
