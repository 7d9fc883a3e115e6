"""A kernel in a few lines: what each operation does to its state, and what it refuses, as Linux does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, KernelState
from netvps.domain.overlay.kernel.operations import Operation

V = TypeVar("V")
_DEVICE, _BRIDGE = OBJECT_NAMES.device, OBJECT_NAMES.bridge


def applied(operation: Operation, state: KernelState) -> KernelState:  # noqa: PLR0911, PLR0912 — a table
    """The state after it. An AssertionError is an operation at a wrong time."""
    match operation:
        case op.MakeDevice(device):
            assert state.device is None
            return _with_sysctls(replace(state, device=device), _DEVICE)
        case op.ChangeDevice(device):
            assert state.device is not None
            assert (device.vni, device.port) == (state.device.vni, state.device.port)
            return replace(state, device=device)
        case op.RemoveDevice():
            routes = {cidr: route for cidr, route in state.routes.items() if not route.gateway}
            bare = replace(state, device=None, neighbours={}, fdb={}, routes=routes)
            return _without(bare, _DEVICE)
        case op.MakeBridge(bridge):
            assert state.bridge is None
            return _with_sysctls(replace(state, bridge=bridge), _BRIDGE)
        case op.ChangeBridge(bridge):
            assert state.bridge is not None
            return replace(state, bridge=bridge)
        case op.RemoveBridge():
            routes = {cidr: route for cidr, route in state.routes.items() if not route.on_bridge}
            return _without(replace(state, bridge=None, routes=routes), _BRIDGE)
        case op.PutAddress(address):
            assert state.device if address.link == _DEVICE else state.bridge
            return replace(state, addresses=state.addresses | {address})
        case op.DropAddress(address):
            return replace(state, addresses=state.addresses - {address})
        case op.PutNeighbour(address, mac):
            assert state.device is not None
            return replace(state, neighbours={**state.neighbours, address: mac})
        case op.DropNeighbour(address):
            return replace(state, neighbours=_less(state.neighbours, address))
        case op.PutFdb(mac, remote):
            assert state.device is not None
            return replace(state, fdb={**state.fdb, mac: remote})
        case op.DropFdb(mac):
            return replace(state, fdb=_less(state.fdb, mac))
        case op.PutRoute(destination, route):
            assert destination not in state.foreign
            assert state.device is not None or not route.gateway
            assert state.bridge is not None or not route.on_bridge
            return replace(state, routes={**state.routes, destination: route})
        case op.DropRoute(destination):
            return replace(state, routes=_less(state.routes, destination))
        case op.SetSysctl(path, value):
            assert state.device if _DEVICE in path.split("/") else state.bridge or _BRIDGE not in path.split("/")
            return replace(state, sysctls={**state.sysctls, path: value})
        case op.Announce(address):
            assert state.bridge is not None
            assert state.routes[f"{address}/32"].gateway
            return state


def cut_off(state: KernelState) -> set[str]:
    """Destinations whose packets would wait for an answer to ARP, or be dropped on the device."""
    return {
        destination
        for destination, route in state.routes.items()
        if route.gateway and state.neighbours.get(route.gateway) not in state.fdb
    }


def _with_sysctls(state: KernelState, link: str) -> KernelState:
    fresh = {f"net/ipv4/conf/{link}/rp_filter": "1", f"net/ipv4/conf/{link}/forwarding": "0"}
    return replace(state, sysctls={**state.sysctls, **fresh})


def _without(state: KernelState, link: str) -> KernelState:
    rest = frozenset(address for address in state.addresses if address.link != link)
    sysctls = {path: value for path, value in state.sysctls.items() if link not in path.split("/")}
    return replace(state, addresses=rest, sysctls=sysctls)


def _less(entries: Mapping[str, V], key: str) -> dict[str, V]:
    return {known: value for known, value in entries.items() if known != key}
