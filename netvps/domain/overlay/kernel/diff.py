"""Computes the operations from the actual kernel state to the desired one, in an order that is safe to interrupt.

Invariant: a route exists only while its neighbour exists, and a neighbour only while its FDB entry exists. Without a
neighbour, the kernel would queue packets and send ARP requests, which no host on the overlay answers. So entries are
added in the order FDB, neighbour, route, and removed in the reverse order. Replacements are put before the entries
they replace are removed, so that a subnet that moves between runners always has a route. An address that leaves the
bridge's subnet is announced when it has its route.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import TypeVar

from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, Device, KernelState, ObjectNames, Route
from netvps.domain.overlay.kernel.operations import EntryOperation, Operation

V = TypeVar("V", str, Route)
_HOST = "/32"


def diff(desired: KernelState, actual: KernelState, names: ObjectNames = OBJECT_NAMES) -> tuple[Operation, ...]:
    """The operations that turn `actual` into `desired`; none if they are equal. Never changes a `foreign` route."""
    links = tuple(_links(desired, actual))
    left = _after(links, actual, names)
    made = {names.device for o in links if isinstance(o, op.MakeDevice)}
    made |= {names.bridge for o in links if isinstance(o, op.MakeBridge)}
    return (
        *_unreachable(desired, actual),
        *links,
        *_sysctls(desired, left, made),
        *_addresses(desired, left),
        *_entries(desired, left),
        *_announcements(desired, left, names),
    )


def _links(desired: KernelState, actual: KernelState) -> Iterator[Operation]:
    if actual.device and (desired.device is None or _needs_new(desired.device, actual.device)):
        yield op.RemoveDevice()
        actual = replace(actual, device=None)
    if desired.device != actual.device and desired.device:
        yield op.ChangeDevice(desired.device) if actual.device else op.MakeDevice(desired.device)
    if desired.bridge != actual.bridge:
        if desired.bridge:
            yield op.ChangeBridge(desired.bridge) if actual.bridge else op.MakeBridge(desired.bridge)
        else:
            yield op.RemoveBridge()


def _needs_new(desired: Device, actual: Device) -> bool:
    """Whether the device has to be replaced.

    On a live device, the kernel can change MTU, state, offload, and the local address within its family. It can also
    change the MAC, but drops all neighbours then; the MAC changes only with the runner's identity.
    """
    fixed = (desired.vni, desired.port, desired.mac, desired.learning, desired.remote, ":" in desired.local)
    return fixed != (actual.vni, actual.port, actual.mac, actual.learning, actual.remote, ":" in actual.local)


def _after(links: tuple[Operation, ...], actual: KernelState, names: ObjectNames) -> KernelState:
    """The state after links are removed: the kernel removes their addresses, routes and entries with them."""
    for operation in links:
        match operation:
            case op.RemoveDevice():
                others = {cidr: route for cidr, route in actual.routes.items() if not route.gateway}
                rest = frozenset(address for address in actual.addresses if address.link != names.device)
                actual = replace(actual, device=None, addresses=rest, neighbours={}, fdb={}, routes=others)
            case op.RemoveBridge():
                rest = frozenset(address for address in actual.addresses if address.link != names.bridge)
                others = {cidr: route for cidr, route in actual.routes.items() if not route.on_bridge}
                actual = replace(actual, bridge=None, addresses=rest, routes=others)
    return actual


def _unreachable(desired: KernelState, actual: KernelState) -> Iterator[Operation]:
    """Puts the unreachable routes before a device is removed, so that no overlay packet takes the default route."""
    for destination, route in desired.routes.items():
        if route.unreachable and actual.routes.get(destination) != route and destination not in actual.foreign:
            yield op.PutRoute(destination, route)


def _sysctls(desired: KernelState, actual: KernelState, made: set[str]) -> Iterator[Operation]:
    """Sets values that differ. A new link has none set yet; values that this kernel does not have are skipped."""
    for path, value in desired.sysctls.items():
        if made & set(path.split("/")) or actual.sysctls.get(path, value) != value:
            yield op.SetSysctl(path, value)


def _addresses(desired: KernelState, actual: KernelState) -> Iterator[Operation]:
    """Puts addresses before it drops others: a link that loses its last address loses its routes."""
    wanted, there = desired.addresses, actual.addresses
    yield from (op.PutAddress(address) for address in sorted(wanted - there, key=str))
    yield from (op.DropAddress(address) for address in sorted(there - wanted, key=str))


def _entries(desired: KernelState, actual: KernelState) -> Iterator[Operation]:
    # Order matters, see the module's docstring: FDB, neighbour, route; and the reverse for removals.
    for mac, remote in desired.fdb.items():
        if actual.fdb.get(mac) != remote:
            yield op.PutFdb(mac, remote)
    for address, mac in desired.neighbours.items():
        if actual.neighbours.get(address) != mac:
            yield op.PutNeighbour(address, mac)
    for destination, route in desired.routes.items():
        known = actual.routes.get(destination)
        # Identity first: routes are cached objects, and comparing thousands of equal ones by value is slow.
        if known is not route and known != route and not route.unreachable and destination not in actual.foreign:
            yield op.PutRoute(destination, route)
    yield from (op.DropRoute(cidr) for cidr in actual.routes if cidr not in desired.routes)
    yield from (op.DropNeighbour(address) for address in actual.neighbours if address not in desired.neighbours)
    yield from (op.DropFdb(mac) for mac in actual.fdb if mac not in desired.fdb)


def _announcements(desired: KernelState, actual: KernelState, names: ObjectNames) -> Iterator[Operation]:
    """Announces the addresses of the bridge's subnet that were not on another runner before."""
    on_bridge = [IPv4Interface(one.cidr).network for one in desired.addresses if one.link == names.bridge]
    for destination, route in desired.routes.items():
        known = actual.routes.get(destination)
        if route.gateway and destination.endswith(_HOST) and not (known and known.gateway):
            address = destination.removesuffix(_HOST)
            if any(IPv4Address(address) in subnet for subnet in on_bridge):
                yield op.Announce(address)


def patched(state: KernelState, old: KernelState, new: KernelState) -> KernelState:
    """The state with its part `old` replaced by `new`; the rest does not change."""
    return replace(
        state,
        neighbours=_patched(state.neighbours, old.neighbours, new.neighbours),
        fdb=_patched(state.fdb, old.fdb, new.fdb),
        routes=_patched(state.routes, old.routes, new.routes),
    )


def _patched(entries: Mapping[str, V], old: Mapping[str, V], new: Mapping[str, V]) -> Mapping[str, V]:
    if old == new:
        return entries
    after = dict(entries)
    for key in old.keys() - new.keys():
        del after[key]
    after.update(new)
    return after


def additions(operations: tuple[Operation, ...], actual: KernelState) -> tuple[Operation, ...]:
    """The operations that neither remove nor overwrite an entry, here or in caches: safe from an outdated netmap."""
    return tuple(operation for operation in operations if not _replaces(operation, actual))


def _replaces(operation: Operation, actual: KernelState) -> bool:
    match operation:
        case op.DropNeighbour() | op.DropFdb() | op.DropRoute() | op.Announce():
            return True
        case op.PutNeighbour(address):
            return address in actual.neighbours
        case op.PutFdb(mac):
            return mac in actual.fdb
        case op.PutRoute(destination):
            return destination in actual.routes
    return False


def as_wanted(done: EntryOperation, desired: KernelState) -> bool:
    """Whether a change of an entry matches the desired state. It usually does, because this runner made the change."""
    match done:
        case op.PutNeighbour(address, mac):
            return desired.neighbours.get(address) == mac
        case op.PutFdb(mac, remote):
            return desired.fdb.get(mac) == remote
        case op.PutRoute(destination, route):
            return desired.routes.get(destination) == route
        case op.DropNeighbour(address):
            return address not in desired.neighbours
        case op.DropFdb(mac):
            return mac not in desired.fdb
        case op.DropRoute(destination):
            return destination not in desired.routes
