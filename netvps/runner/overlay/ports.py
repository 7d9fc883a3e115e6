"""What the overlay needs of its machine, as Protocols: the kernel, a packet filter, a DNS server, Docker's network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from typing import Protocol

from netvps.domain.overlay.change import Change
from netvps.domain.overlay.health import TcpOutcome
from netvps.domain.overlay.links import Bridge, KernelState
from netvps.domain.overlay.news import Failure, KernelEvent
from netvps.domain.overlay.operations import Operation
from netvps.domain.overlay.view import View
from netvps.domain.runner import Underlay


class Kernel(Protocol):
    """Links, addresses, neighbours, FDB and routes. Every call is bounded in time and off the event loop."""

    async def dump(self) -> KernelState:
        """All there is of ours, and the routes of others. Raises Unavailable."""

    async def apply(self, operations: Sequence[Operation]) -> list[Failure]:
        """Does them in order; one that fails does not stop the rest. "Is there" and "is gone" are success."""

    async def attach(self, ports: frozenset[str]) -> None:
        """Puts links on the bridge; those that are there already stay, those that are gone are no error."""

    def events(self) -> AsyncGenerator[KernelEvent, None]:
        """What changes, for ever. The first is LinksChanged: from then on nothing is missed without being told."""

    async def underlay(self) -> Underlay:
        """This machine's address on the way to the others. Raises ConfigError if what was set is not there."""

    async def unable(self) -> str:
        """Why this machine can have no overlay, with what to do; '' if it can."""

    async def used(self) -> Mapping[str, float]:
        """Seconds since something was last sent to a peer, by its MAC. Raises a NetvpsError."""


class Prober(Protocol):
    """Sends single packets, and waits for them to come back."""

    @property
    def able(self) -> bool:
        """Whether this process may; else nothing can be measured."""

    async def echo(self, address: str, size: int, seconds: float) -> float | None:
        """Round trip in seconds of an unfragmented packet of `size` bytes in all; None: not back in time."""


class TcpProbe(Protocol):
    """Real TCP between runners."""

    async def serve(self, address: str, port: int, peers: Callable[[], Collection[str]]) -> None:
        """Gives back what comes from `peers` (addresses). Again is fine. Raises Unavailable: it cannot listen."""

    async def exchange(self, address: str, port: int, mtu: int) -> TcpOutcome:
        """Sends pieces of all sizes and sees what comes back."""

    async def close(self) -> None:
        """Serves no more."""


class Filter(Protocol):
    """Packet filter: its rules follow from the view, and from which link leads to which session."""

    async def unable(self) -> str:
        """Why this machine can have none, with what to do; '' if it can."""

    async def load(self, view: View, change: Change | None = None) -> None:
        """Loads the rules for this view, all or none, also those that others' drop policies make needed.

        With how it differs from another, if that is known: where it is the one loaded last, only that is done. Raises
        a NetvpsError.
        """

    async def add(self, view: View) -> None:
        """Adds the rules for this view, and takes nothing away: what is there may be newer. Raises as `load` does."""

    def look(self) -> None:
        """Which link leads to which session may have changed: the next `load` asks."""

    async def loaded(self) -> bool:
        """Whether what was loaded last is there, and right: else `load` loads it anew. Others flush tables, too."""

    async def remove(self) -> None:
        """Removes all of it. What is gone is no error."""


class Names(Protocol):
    """DNS for the sessions of this machine, on the bridge's address."""

    async def serve(self, view: View) -> None:
        """Answers by this view from now on; begins to listen if it does not yet. Raises a NetvpsError."""

    async def close(self) -> None:
        """Ends. Twice is fine."""


class ContainerNetwork(Protocol):
    """The network of that name in the container engine, on our bridge."""

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        """Makes it unless it is there. Raises NetworkUnavailable if it is another's or has another subnet."""

    async def ports(self) -> Mapping[str, str]:
        """Names of the links, on this machine, of the containers that run on it, by the containers' addresses."""

    async def remove(self) -> None:
        """Removes it. What is gone is no error."""
