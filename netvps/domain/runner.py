"""A runner: a machine that sessions run on, its lease on a subnet, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import ClassVar, Final

from netvps.domain.checks import Checks, shown
from netvps.domain.overlay.fabric import Fabric
from netvps.domain.overlay.health import Problem

MAX_ADDRESSES: Final = 8
"""Of a runner on its underlay."""
MIN_MTU, MAX_MTU = 576, 65_535


class RunnerState(StrEnum):
    """Whether a runner is heard of."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a machine has; bytes, and logical CPUs."""

    cpus: int = 0
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    engine_version: str = ""


@dataclass(frozen=True, slots=True)
class Underlay:
    """What a runner says of its way to the others; its addresses on the underlay, best first."""

    addresses: tuple[str, ...]
    mtu: int
    """The largest packet of the overlay that it can send and receive, in bytes."""

    def __post_init__(self) -> None:
        checks = Checks()
        count = len(self.addresses)
        checks.require(0 < count <= MAX_ADDRESSES, "addresses", f"{count} are not between 1 and {MAX_ADDRESSES}")
        for index, address in enumerate(self.addresses[:MAX_ADDRESSES]):
            checks.require(_is_host(address), f"addresses[{index}]", f"{shown(address)} is no IP address of a host")
        checks.require(MIN_MTU <= self.mtu <= MAX_MTU, "mtu", f"{self.mtu} is not between {MIN_MTU} and {MAX_MTU}")
        checks.done()


@dataclass(frozen=True, slots=True)
class Lease:
    """A subnet of the overlay's pool that a runner owns; never tied to an IP of the machine."""

    kind: ClassVar[str] = "lease"

    cidr: str
    runner: str
    """Uid of the runner."""
    epoch: int
    """Higher than that of every lease before it."""
    revision: int = 0
    last_address: str = ""
    """That a session got last: the next one is looked for behind it, for others remember whose the old ones were."""

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.cidr


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner as the store holds it."""

    kind: ClassVar[str] = "runner"

    uid: str
    name: str
    create_time: datetime
    last_seen: datetime
    state: RunnerState = RunnerState.OFFLINE
    version: str = ""
    capacity: Capacity = Capacity()
    capabilities: tuple[str, ...] = ()
    underlay: Underlay | None = None
    """None: it has no overlay."""
    problems: tuple[Problem, ...] = ()
    """Of its part of the overlay, by its own account."""
    gateway_until: datetime | None = None
    """A server saw that it is on this machine, and says so again before then; never what the runner says of itself."""
    gateway_only: bool = False
    """A server's own part of the overlay: no program connects as it, and no session is placed there."""
    revision: int = 0
    engine_problem: str = ""
    """Why no session can start there now; "" if the container engine answers."""
    isolation_problem: str = ""
    """Why sessions without the overlay are not kept from services of the machine; "" if they are."""

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.uid


@dataclass(frozen=True, slots=True)
class RunnerView:
    """A runner as people see it: with the subnet it owns, and the number of sessions placed on it."""

    runner: Runner
    lease: Lease
    session_count: int


@dataclass(frozen=True, slots=True)
class RunnerHello:
    """How a runner process introduces itself; `instance_id` is random at each start."""

    instance_id: str
    version: str
    capacity: Capacity
    capabilities: tuple[str, ...] = ()
    resume_revision: int = 0
    underlay: Underlay | None = None
    """None: it has no overlay."""
    netmap_generation: int = 0
    """Of the netmap that it knows; 0 for none."""
    problems: tuple[Problem, ...] = ()
    """Of its part of the overlay."""
    engine_problem: str = ""
    """Why no session can start there now; "" if the container engine answers."""
    isolation_problem: str = ""
    """Why sessions without the overlay are not kept from services of the machine; "" if they are."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a runner says of itself in between; of its netmap, as it knows it at that generation."""

    capacity: Capacity
    underlay: Underlay | None = None
    """None: it has no overlay."""
    netmap_generation: int = 0
    netmap_digest: str = ""
    """`Netmap.digest`; '' while it knows none."""
    problems: tuple[Problem, ...] = ()
    """Of its part of the overlay."""
    engine_problem: str = ""
    """Why no session can start there now; "" if the container engine answers."""
    isolation_problem: str = ""
    """Why sessions without the overlay are not kept from services of the machine; "" if they are."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """What a runner learns first; the interval is in seconds."""

    runner: str
    """NAME of the runner."""
    heartbeat_interval: float
    lease: Lease
    fabric: Fabric
    """With the id of the cluster."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All assignments were sent, as of this revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Somebody wants the logs of a session; answer on the stream of this id."""

    stream_id: str
    session_uid: str
    tail_lines: int
    follow: bool
    since: datetime | None = None
    """Only what was written after this."""


def _is_host(text: str) -> bool:
    """Whether packets can be sent to one machine there."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified) and "%" not in text and text == str(address)
