"""Operations on the overlay's objects in the kernel, all idempotent; what it refuses, and what it notifies of."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.overlay.kernel.links import Address, Bridge, Device, ObjectNames, Route


@dataclass(frozen=True, slots=True)
class MakeDevice:
    """Makes the VXLAN device. Its neighbours, FDB, addresses and routes are put afterwards."""

    device: Device


@dataclass(frozen=True, slots=True)
class ChangeDevice:
    """Changes the live device. Keeps everything on it, except when it is set up or down: see `diff`."""

    device: Device


@dataclass(frozen=True, slots=True)
class RemoveDevice:
    """Removes the device and everything on it."""


@dataclass(frozen=True, slots=True)
class MakeBridge:
    """Makes the bridge, and attaches the sessions' links that lost theirs."""

    bridge: Bridge


@dataclass(frozen=True, slots=True)
class ChangeBridge:
    """Changes the live bridge."""

    bridge: Bridge


@dataclass(frozen=True, slots=True)
class RemoveBridge:
    """Removes the bridge."""


@dataclass(frozen=True, slots=True)
class PutAddress:
    """Adds an address to a link."""

    address: Address


@dataclass(frozen=True, slots=True)
class DropAddress:
    """Removes an address from a link."""

    address: Address


@dataclass(frozen=True, slots=True)
class PutNeighbour:
    """Adds or replaces a permanent neighbour on the device."""

    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class DropNeighbour:
    """Removes a neighbour."""

    address: str


@dataclass(frozen=True, slots=True)
class PutFdb:
    """Adds or replaces an FDB entry on the device."""

    mac: str
    remote: str


@dataclass(frozen=True, slots=True)
class DropFdb:
    """Removes an FDB entry."""

    mac: str


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Adds or replaces a route of the overlay."""

    destination: str
    route: Route


@dataclass(frozen=True, slots=True)
class DropRoute:
    """Removes a route of the overlay."""

    destination: str


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Writes a value below /proc/sys."""

    path: str
    value: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Announces on the bridge, by ARP, that this machine forwards to an address of its subnet.

    Sessions that talked to it while it was on the bridge would else send to its former MAC for up to a minute.
    """

    address: str


LinkOperation = MakeDevice | ChangeDevice | RemoveDevice | MakeBridge | ChangeBridge | RemoveBridge
AddressOperation = PutAddress | DropAddress
EntryOperation = PutNeighbour | DropNeighbour | PutFdb | DropFdb | PutRoute | DropRoute
"""Operations of which a change may contain thousands."""
Operation = LinkOperation | AddressOperation | EntryOperation | SetSysctl | Announce


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


def needs_device(operation: Operation, names: ObjectNames) -> bool:
    """Whether the operation needs the VXLAN device to exist."""
    match operation:
        case PutNeighbour() | PutFdb():
            return True
        case PutRoute(_, route):
            return bool(route.gateway)
        case PutAddress(address):
            return address.link == names.device
    return False
