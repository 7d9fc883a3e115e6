"""Errors and notifications of the kernel about the overlay's objects."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.overlay.kernel.operations import EntryOperation, Operation


@dataclass(frozen=True, slots=True)
class Failure:
    """An operation that the kernel refused, and why, for people."""

    operation: Operation
    why: str


@dataclass(frozen=True, slots=True)
class EntryChanged:
    """A neighbour, FDB entry or route of the overlay was changed, by this runner or another program."""

    done: EntryOperation


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """A link or address of this machine changed, or notifications were lost (`why`): inspect the full state."""

    why: str


@dataclass(frozen=True, slots=True)
class PortChanged:
    """A port of the bridge (a container's veth) came, went or changed. No other object is affected."""

    link: str
    """Name of the link."""


KernelEvent = EntryChanged | LinksChanged | PortChanged
