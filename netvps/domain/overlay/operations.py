"""What can be done to the overlay's objects in the kernel. Each may be done twice: the second time changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.overlay.links import Address, Bridge, Device, ObjectNames, Route


@dataclass(frozen=True, slots=True)
class MakeDevice:
    """Makes the VXLAN device; its neighbours, FDB, addresses and routes come after it."""

    device: Device


@dataclass(frozen=True, slots=True)
class ChangeDevice:
    """Changes the live device; nothing on it is lost, but for `up`: see `diff`."""

    device: Device


@dataclass(frozen=True, slots=True)
class RemoveDevice:
    """Removes it, and with it all that is on it."""


@dataclass(frozen=True, slots=True)
class MakeBridge:
    """Makes the bridge, with the sessions' ends of it where they have lost it."""

    bridge: Bridge


@dataclass(frozen=True, slots=True)
class ChangeBridge:
    """Changes the live bridge."""

    bridge: Bridge


@dataclass(frozen=True, slots=True)
class RemoveBridge:
    """Removes it."""


@dataclass(frozen=True, slots=True)
class PutAddress:
    """Gives a link an address."""

    address: Address


@dataclass(frozen=True, slots=True)
class DropAddress:
    """Takes it away."""

    address: Address


@dataclass(frozen=True, slots=True)
class PutNeighbour:
    """Makes or replaces a permanent neighbour on the device."""

    address: str
    mac: str


@dataclass(frozen=True, slots=True)
class DropNeighbour:
    """Removes it."""

    address: str


@dataclass(frozen=True, slots=True)
class PutFdb:
    """Makes or replaces an FDB entry of the device."""

    mac: str
    remote: str


@dataclass(frozen=True, slots=True)
class DropFdb:
    """Removes it."""

    mac: str


@dataclass(frozen=True, slots=True)
class PutRoute:
    """Makes or replaces a route of ours."""

    destination: str
    route: Route


@dataclass(frozen=True, slots=True)
class DropRoute:
    """Removes it."""

    destination: str


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """Writes a value below /proc/sys."""

    path: str
    value: str


LinkOperation = MakeDevice | ChangeDevice | RemoveDevice | MakeBridge | ChangeBridge | RemoveBridge
AddressOperation = PutAddress | DropAddress
EntryOperation = PutNeighbour | DropNeighbour | PutFdb | DropFdb | PutRoute | DropRoute
"""There are thousands of these."""
Operation = LinkOperation | AddressOperation | EntryOperation | SetSysctl


def needs_device(operation: Operation, names: ObjectNames) -> bool:
    """Whether it puts something on the VXLAN device."""
    match operation:
        case PutNeighbour() | PutFdb():
            return True
        case PutRoute(_, route):
            return bool(route.gateway)
        case PutAddress(address):
            return address.link == names.device
    return False
