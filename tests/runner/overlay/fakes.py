"""What the overlay stands on, faked: each notes what it was given (netvps.runner.overlay.ports)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import replace

from netvps.domain.overlay.change import Change
from netvps.domain.overlay.kernel.links import Bridge, KernelState
from netvps.domain.overlay.kernel.operations import Failure, KernelEvent, LinksChanged, Operation
from netvps.domain.overlay.netmap import NetmapUpdate, Peer
from netvps.domain.overlay.peer_health import TcpOutcome
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay
from netvps.errors import NetvpsError, Unavailable
from tests.domain.overlay.model import applied

SETTINGS = OverlaySettings("cluster")


def lease(number: int, runner: str, epoch: int = 1) -> Lease:
    return Lease(f"10.128.{4 * number}.0/22", runner, epoch)


def peer(number: int, address: str = "") -> Peer:
    uid = f"runner{number}"
    way = Underlay((address or f"192.0.2.{number}",), 1450)
    return Peer(uid, uid, lease(number, uid), device_mac(SETTINGS, uid), way)


def whole(generation: int, *peers: Peer) -> NetmapUpdate:
    """A map from its beginning to its end."""
    return NetmapUpdate(generation, peers=peers, reset=True, caught_up=True)


class FakeKernel:
    """Linux in a few lines. `refusing` operations fail; without `way` there is no underlay."""

    def __init__(self) -> None:
        self.state = KernelState()
        self.dumps = 0
        self.applied: list[Operation] = []
        self.attached: list[frozenset[str]] = []
        self.refusing: set[type[Operation]] = set()
        self.incapable = ""
        self.uses: dict[str, float] = {}
        self.way: Underlay | None = Underlay(("192.0.2.1",), 1450)
        self._events: asyncio.Queue[KernelEvent] = asyncio.Queue()

    async def unable(self) -> str:
        return self.incapable

    async def underlay(self) -> Underlay:
        if self.way is None:
            raise Unavailable("this machine has no address that other machines reach")
        return self.way

    async def dump(self) -> KernelState:
        self.dumps += 1
        return self.state

    async def apply(self, operations: Sequence[Operation]) -> list[Failure]:
        failures = []
        for operation in operations:
            if type(operation) in self.refusing:
                failures.append(Failure(operation, "refused"))
            else:
                self.state = applied(operation, self.state)
                self.applied.append(operation)
        return failures

    async def attach(self, ports: frozenset[str]) -> None:
        self.attached.append(ports)

    async def events(self) -> AsyncGenerator[KernelEvent, None]:
        yield LinksChanged("the subscription begins")
        while True:
            yield await self._events.get()

    async def used(self) -> dict[str, float]:
        return self.uses

    def happens(self, event: KernelEvent, state: KernelState | None = None) -> None:
        """Another program changes it."""
        self.state = state or self.state
        self._events.put_nowait(event)

    def loses(self, entries: str) -> KernelState:
        """Its state without some kind of entries."""
        return replace(self.state, **{entries: {}})  # type: ignore[arg-type]


class FakeWire:
    """Dialer to others. By address: what is `largest` there (0: nothing comes back); None where it answers at once."""

    def __init__(self) -> None:
        self.able = True
        self.largest: dict[str, int] = {}
        self.losing: list[bool] = []
        """Whether the next packets are lost, whatever they are."""
        self.sent: list[tuple[str, int]] = []

    async def echo(self, address: str, size: int, seconds: float) -> float | None:
        self.sent.append((address, size))
        if (self.losing and self.losing.pop(0)) or size > self.largest.get(address, 9000):
            await asyncio.sleep(seconds / 1000)
            return None
        await asyncio.sleep(0)
        return 0.001


class FakeTcp:
    """TCP that comes to what `outcomes` say in turn, then to GOOD."""

    def __init__(self) -> None:
        self.outcomes: list[TcpOutcome] = []
        self.tried: list[tuple[str, int, int]] = []
        self.served: list[tuple[str, int]] = []

    async def serve(self, address: str, port: int, peers: Callable[[], Collection[str]]) -> None:
        self.served.append((address, port))

    async def exchange(self, address: str, port: int, mtu: int) -> TcpOutcome:
        self.tried.append((address, port, mtu))
        return self.outcomes.pop(0) if self.outcomes else TcpOutcome.GOOD

    async def close(self) -> None:
        self.served.clear()


class FakeFilter:
    """A packet filter that can be flushed by others, or be missing (`broken`)."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.added: list[View] = []
        self.looks = 0
        self.there = False
        self.broken: NetvpsError | None = None

    async def unable(self) -> str:
        return ""

    def reload_ports(self) -> None:
        self.looks += 1

    async def load(self, view: View, change: Change | None = None) -> None:
        if self.broken:
            raise self.broken
        if not self.there or self.views[-1:] != [view]:
            self.views.append(view)
        self.there = True

    async def add(self, view: View) -> None:
        self.added.append(view)

    async def loaded(self) -> bool:
        return self.there

    async def remove(self) -> None:
        self.there = False


class FakeNames:
    """A DNS server."""

    def __init__(self) -> None:
        self.views: list[View] = []

    async def serve(self, view: View) -> None:
        self.views.append(view)

    async def close(self) -> None:
        self.views.clear()


class FakeNetwork:
    """A container network; `on_it` are the links of containers that run there."""

    def __init__(self) -> None:
        self.made: list[tuple[str, Bridge]] = []
        self.on_it: dict[str, str] = {}
        self.broken: NetvpsError | None = None

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        if self.broken:
            raise self.broken
        if self.made[-1:] != [(subnet, bridge)]:
            self.made.append((subnet, bridge))

    async def ports(self) -> dict[str, str]:
        return self.on_it

    async def remove(self) -> None:
        self.made.clear()
