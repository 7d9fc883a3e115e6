"""Reads, changes and watches the overlay's kernel objects; implements the runner's Kernel port."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self, TypeVar

from pyroute2.netlink.exceptions import NetlinkError

from netvps.adapters.netlink import sysctl
from netvps.adapters.netlink.announcement import announce
from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.entries import (
    ForeignRoute,
    Own,
    decode,
    dump_fdb,
    dump_neighbours,
    dump_routes,
    encode,
    last_use,
)
from netvps.adapters.netlink.events import Events
from netvps.adapters.netlink.interfaces.interfaces import Links
from netvps.adapters.netlink.overlay_lock import OverlayLock
from netvps.adapters.netlink.privilege import unprivileged
from netvps.adapters.netlink.refused import Refused, done_before, explained
from netvps.adapters.netlink.underlay import detect
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, KernelState, ObjectNames, Route
from netvps.domain.overlay.kernel.operations import (
    AddressOperation,
    EntryOperation,
    Failure,
    KernelEvent,
    LinkOperation,
    Operation,
)
from netvps.domain.overlay.kernel.plan import sysctls
from netvps.domain.runner.runner import Underlay
from netvps.errors import NetvpsError, TimedOut, Unavailable

T = TypeVar("T")
_ENTRY = (op.PutNeighbour, op.DropNeighbour, op.PutFdb, op.DropFdb, op.PutRoute, op.DropRoute)
_SECONDS: Final = 60.0
_RESOLVE_SECONDS: Final = 10.0


class NetlinkKernel:
    """The kernel's part of the overlay: an async context manager, to enter before gRPC starts threads.

    All work runs on one thread: pyroute2 has sockets per thread, and the kernel serialises changes anyway.
    `server` is the control plane's host name or address, `underlay` the setting.
    """

    def __init__(self, *, server: str = "", underlay: str = "", names: ObjectNames = OBJECT_NAMES) -> None:
        self._server = server
        self._choice = underlay
        self._names = names
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="netlink")
        self._own = Own(0, names.protocol)
        self._hold = OverlayLock(names)

    async def __aenter__(self) -> Self:
        self._links, self._bulk = await self._run(lambda: (Links(self._names), BulkSocket()))
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._run(self._close)
        finally:
            self._thread.shutdown(wait=False)

    async def unable(self) -> str:
        """Returns why this machine cannot have an overlay, with what to do; '' if it can. Takes the overlay lock."""
        if why := unprivileged():
            return f"no overlay: {why}"
        if not await self._run(self._links.understands_vxlan):
            return "no overlay: this kernel has no VXLAN; load the module (modprobe vxlan)"
        if not self.hold():
            return f"no overlay: another runner of this machine has {self._names.device}; stop one of the two"
        return ""

    def hold(self) -> bool:
        """Takes the overlay lock of this namespace until the end; False if another process has it."""
        return self._hold.acquire()

    async def underlay(self) -> Underlay:
        """Detects this machine's underlay address. Raises ConfigError, or Unavailable while there is no route."""
        targets = () if self._choice else await self._server_addresses()
        return await self._run(lambda: detect(self._choice, targets, self._names))

    async def dump(self) -> KernelState:
        """Reads the overlay's objects, and foreign routes."""
        return await self._run(self._dump)

    async def apply(self, operations: Sequence[Operation]) -> list[Failure]:
        """Executes operations in order; returns those that the kernel refused."""
        return await self._run(lambda: self._apply(operations))

    async def attach(self, ports: frozenset[str]) -> None:
        """Makes interfaces ports of the bridge; skips those that no longer exist."""
        await self._run(lambda: self._links.attach(ports))

    async def used(self) -> Mapping[str, float]:
        """Returns the seconds since something was last sent to each peer, by its MAC."""
        return await self._run(self._used)

    async def events(self) -> AsyncGenerator[KernelEvent, None]:
        """Yields changes until it is closed."""
        stream = Events(self._names, lambda: self._own).stream()
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()

    async def _run(self, function: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SECONDS):
                return await loop.run_in_executor(self._thread, function)
        except TimeoutError:
            raise TimedOut(
                f"the kernel did not answer in {_SECONDS:.0f} s (netlink); check the machine's load"
            ) from None
        except NetlinkError as error:
            raise Unavailable(f"cannot read the kernel's network: {error.args[-1]}; the runner retries") from None

    async def _server_addresses(self) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                found = await loop.getaddrinfo(self._server, None, type=socket.SOCK_STREAM) if self._server else []
        except (OSError, TimeoutError):  # DNS fails: use the default route
            found = []
        return tuple(dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found))

    def _close(self) -> None:
        self._hold.release()
        self._links.close()
        self._bulk.close()

    def _dump(self) -> KernelState:
        self._find()
        neighbours: dict[str, str] = {}
        fdb: dict[str, str] = {}
        routes: dict[str, Route] = {}
        foreign: dict[str, str] = {}
        own_links = {self._own.device, self._own.bridge} - {0}
        for found in self._entries():
            match found:
                case op.PutNeighbour(address, mac):
                    neighbours[address] = mac
                case op.PutFdb(mac, remote):
                    fdb[mac] = remote
                case op.PutRoute(destination, route):
                    routes.setdefault(destination, route)  # the first has the best metric, so it is the one in use
                case ForeignRoute(destination, interface) if interface not in own_links:
                    foreign[destination] = f"{destination} dev {_interface(interface)}"
        return KernelState(
            device=self._links.device(),
            bridge=self._links.bridge(),
            addresses=self._links.addresses(),
            neighbours=neighbours,
            fdb=fdb,
            routes=routes,
            sysctls=sysctl.read(sysctls(self._names)),
            foreign=foreign,
        )

    def _entries(self) -> Iterable[EntryOperation | ForeignRoute | None]:
        dumps = [dump_routes()]
        if self._own.device:
            dumps += [dump_neighbours(self._own.device), dump_fdb(self._own.device)]
        return (decode(kind, body, self._own) for request in dumps for kind, body in self._bulk.dump(request))

    def _used(self) -> dict[str, float]:
        found = self._bulk.dump(dump_fdb(self._own.device)) if self._own.device else []
        return dict(use for _, body in found if (use := last_use(body, self._own)))

    def _find(self) -> None:
        device, bridge = (self._links.index(name) for name in (self._names.device, self._names.bridge))
        self._own = Own(device, self._names.protocol, bridge)

    def _apply(self, operations: Sequence[Operation]) -> list[Failure]:
        failures: list[Failure] = []
        refused = False
        for _, group in itertools.groupby(operations, lambda operation: isinstance(operation, _ENTRY)):
            entries: list[EntryOperation] = []
            for operation in group:
                if refused and op.needs_device(operation, self._names):
                    continue  # one failure for the missing device, not one per peer
                if isinstance(operation, _ENTRY):
                    entries.append(operation)
                elif failure := self._apply_one(operation):
                    failures.append(failure)
                    refused = refused or isinstance(operation, op.MakeDevice)
            if entries:
                failures += self._apply_entries(entries)
            else:
                self._find()  # a new device has another index
        return failures

    def _apply_entries(self, operations: list[EntryOperation]) -> list[Failure]:
        refusals = self._bulk.request([encode(operation, self._own) for operation in operations])
        return [
            Failure(operation, explained(operation, refusal))
            for operation, refusal in zip(operations, refusals, strict=True)
            if refusal and not done_before(operation, refusal)
        ]

    def _apply_one(self, operation: LinkOperation | AddressOperation | op.SetSysctl | op.Announce) -> Failure | None:
        if isinstance(operation, op.Announce):
            why = announce(self._names.bridge, operation.address)
            return Failure(operation, why) if why else None
        if isinstance(operation, op.SetSysctl):
            why = sysctl.write(operation.path, operation.value)
            return Failure(operation, why) if why else None
        try:
            self._links.apply(operation)
        except Refused as error:
            return Failure(operation, explained(operation, error.refusal))
        except NetvpsError as error:
            return Failure(operation, error.message)
        return None


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return "none"
