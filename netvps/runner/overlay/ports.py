"""The ports of the overlay, as Protocols: the kernel, a packet filter, a DNS server, Docker's network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from netvps.domain.overlay.change import Change
from netvps.domain.overlay.kernel.links import Bridge, KernelState
from netvps.domain.overlay.kernel.operations import Failure, KernelEvent, Operation
from netvps.domain.overlay.peer_health import TcpOutcome
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Underlay


class Kernel(Protocol):
    """Links, addresses, neighbours, FDB and routes. Calls have timeouts and run off the event loop."""

    async def dump(self) -> KernelState:
        """Reads the overlay's objects, and foreign routes. Raises Unavailable."""

    async def apply(self, operations: Sequence[Operation]) -> list[Failure]:
        """Executes operations in order, also after failures. "Exists" and "does not exist" count as success."""

    async def attach(self, ports: frozenset[str]) -> None:
        """Makes interfaces ports of the bridge; skips those that are, and those that no longer exist."""

    def events(self) -> AsyncGenerator[KernelEvent, None]:
        """Yields changes until closed. The first is LinksChanged: lost notifications are reported from then on."""

    async def underlay(self) -> Underlay:
        """Detects this machine's address on the underlay. Raises ConfigError if the setting is wrong."""

    async def unable(self) -> str:
        """Returns why this machine cannot have an overlay, with what to do; '' if it can."""

    async def used(self) -> Mapping[str, float]:
        """Returns the seconds since something was last sent to each peer, by its MAC. Raises a NetvpsError."""


class Prober(Protocol):
    """Sends single packets and waits for their return."""

    @property
    def able(self) -> bool:
        """Whether this process may send them; else nothing can be measured."""

    async def echo(self, address: str, size: int, seconds: float) -> float | None:
        """Returns the round trip in seconds of an unfragmented packet of `size` bytes; None on timeout."""


class TcpProbe(Protocol):
    """TCP transfers between runners."""

    async def serve(self, address: str, port: int, peers: Callable[[], Collection[str]]) -> None:
        """Echoes what `peers` (addresses) send; idempotent. Raises Unavailable if it cannot listen."""

    async def exchange(self, address: str, port: int, mtu: int) -> TcpOutcome:
        """Sends pieces of all sizes and compares what returns."""

    async def close(self) -> None:
        """Stops serving."""


class Filter(Protocol):
    """The packet filter: its rules follow from the view and from the bridge ports of sessions."""

    async def unable(self) -> str:
        """Returns why this machine cannot filter, with what to do; '' if it can."""

    async def load(self, view: View, change: Change | None = None) -> None:
        """Loads the rules for this view, all or none, and the accepts needed where other programs drop by default.

        `change` is the difference to an earlier view, if known: if that is the one loaded last, only the difference is
        applied. Raises a NetvpsError.
        """

    async def add(self, view: View) -> None:
        """Adds the rules for this view to those in the kernel, which may be newer. Raises as `load` does."""

    def reload_ports(self) -> None:
        """Makes the next `load` read the bridge ports again: they may have changed."""

    async def loaded(self) -> bool:
        """Reports whether what was loaded last is still loaded and right; if not, `load` replaces everything."""

    async def remove(self) -> None:
        """Removes everything; idempotent."""


class Names(Protocol):
    """DNS for the sessions of this machine, on the bridge's address."""

    async def serve(self, view: View) -> None:
        """Answers by this view from now on; starts to listen if needed. Raises a NetvpsError."""

    async def close(self) -> None:
        """Stops serving; idempotent."""


class ContainerNetwork(Protocol):
    """The container engine's network of that name, on the overlay's bridge."""

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        """Creates the network unless it exists. Raises NetworkUnavailable if it is foreign or has another subnet."""

    async def ports(self) -> Mapping[str, str]:
        """Returns the interface names on this machine of the network's containers, by container address."""

    async def remove(self) -> None:
        """Removes the network; idempotent."""
