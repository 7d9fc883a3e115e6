"""A runner: a machine on the overlay that runs sessions, its subnet lease, and its own reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address
from typing import ClassVar, Final

from netvps.domain.checks import Checks, shown
from netvps.domain.overlay.peer_health import Problem
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.gpu import Gpu

MAX_ADDRESSES: Final = 8
"""Maximum number of underlay addresses of a runner."""
MIN_MTU, MAX_MTU = 576, 65_535
PAUSE: Final = "pause"
"""The runner knows the desired state PAUSED."""
SNAPSHOTS: Final = "snapshots"
"""The runner carries out orders for snapshots, restores in place and clones."""
SNAPSHOT_FILES: Final = "snapshot_files"
"""The runner compares, exports and imports snapshots."""
COPIES: Final = "copies"
"""The runner carries out orders for copies of snapshots, and sends its own to other runners."""
IMAGES: Final = "images"
"""The runner lists, pulls and removes images on request."""
IMAGE_COPIES: Final = "image_copies"
"""The runner sends its images to other runners."""
BROWSING: Final = "browsing"
"""The runner shows the files of snapshots over SFTP."""
HOST_ROUTES: Final = "host_routes"
"""The runner reaches sessions that moved to other runners with their address."""
KEPT_ADDRESSES: Final = "kept_addresses"
"""The runner gives moved sessions the address that they had before."""
TASKS: Final = "tasks"
"""The runner runs tasks."""
COMMANDS: Final = "commands"
"""The runner gives a container the command of its session in place of the image's."""
CAPABILITIES: Final = (
    PAUSE,
    SNAPSHOTS,
    SNAPSHOT_FILES,
    COPIES,
    IMAGES,
    IMAGE_COPIES,
    BROWSING,
    HOST_ROUTES,
    KEPT_ADDRESSES,
    TASKS,
    COMMANDS,
)
"""What a runner of this version can do, and older ones cannot."""


class RunnerState(StrEnum):
    """Whether heartbeats of a runner arrive."""

    ONLINE = "ONLINE"
    OFFLINE = "OFFLINE"


@dataclass(frozen=True, slots=True)
class Capacity:
    """Resources of a machine: logical CPUs and bytes."""

    cpus: int = 0
    memory_bytes: int = 0
    disk_free_bytes: int = 0
    engine_version: str = ""
    disk_bytes: int = 0
    """Size of the disk with Docker's data; 0 if unknown."""
    disk_limits: bool = False
    """Whether Docker's storage driver can limit the disk of a session."""
    disk_limits_problem: str = ""
    """Why it cannot, with the remedy."""
    gpus: tuple[Gpu, ...] = ()
    gpu_problem: str = ""
    """Why there are no GPUs, or which of them cannot be used."""
    architecture: str = ""
    """As in a platform, without a variant: "amd64", "arm64"; '' if unknown."""


@dataclass(frozen=True, slots=True)
class Underlay:
    """A runner's underlay as it reports it. Addresses are in order of preference."""

    addresses: tuple[str, ...]
    mtu: int
    """Largest overlay packet that it can send and receive, in bytes."""

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
    """A subnet of the overlay's pool, leased to a runner. Independent of the machine's IP address."""

    kind: ClassVar[str] = "lease"

    cidr: str
    runner: str
    """Uid of the runner."""
    epoch: int
    """Higher than the epoch of every earlier lease."""
    revision: int = 0
    last_address: str = ""
    """The last address given to a session. Allocation continues after it, because peers may still cache the old ones.
    """

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.cidr


@dataclass(frozen=True, slots=True)
class Runner:
    """A runner as stored."""

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
    """None if it has no overlay."""
    problems: tuple[Problem, ...] = ()
    """Problems of its part of the overlay, as it reports them."""
    gateway_until: datetime | None = None
    """Until when a server has confirmed that it runs on this machine. Never taken from the runner's own report."""
    no_sessions: bool = False
    """It only joins its machine to the overlay: the scheduler places no session on it."""
    revision: int = 0
    engine_problem: str = ""
    """Why no session can start on it now; "" if the container engine is available."""
    isolation_problem: str = ""
    """Why sessions without the overlay are not isolated from services of the machine; "" if they are."""
    cordoned: bool = False
    """It is cordoned or drained: the scheduler places no session on it."""
    labels: tuple[str, ...] = ()
    """KEY=VALUE: both of the following, by key (domain.runner.labels)."""
    reported_labels: tuple[str, ...] = ()
    """Those that its operator sets on its machine."""
    assigned_labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Those that admins set over the API; they come before those of its operator."""

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return self.uid

    @property
    def may_hold_copies(self) -> bool:
        """Whether snapshots of other runners can be copied to it, once it is online; also if it runs no sessions."""
        return COPIES in self.capabilities

    @property
    def can_hold_copies(self) -> bool:
        """Whether snapshots of other runners can be copied to it now."""
        return self.may_hold_copies and self.state is RunnerState.ONLINE and not self.engine_problem


@dataclass(frozen=True, slots=True)
class RunnerView:
    """A runner as people see it: with its subnet, and the number of sessions placed on it."""

    runner: Runner
    lease: Lease
    session_count: int
    gpus_in_use: frozenset[str] = frozenset()
    """Ids of the GPUs that sessions hold."""


@dataclass(frozen=True, slots=True)
class RunnerHello:
    """The first message of a runner process; `instance_id` is random at each start."""

    instance_id: str
    version: str
    capacity: Capacity
    capabilities: tuple[str, ...] = ()
    resume_revision: int = 0
    underlay: Underlay | None = None
    """None if it has no overlay."""
    netmap_generation: int = 0
    """Generation of its current netmap; 0 for none."""
    problems: tuple[Problem, ...] = ()
    """Problems of its part of the overlay."""
    engine_problem: str = ""
    """Why no session can start on it now; "" if the container engine is available."""
    isolation_problem: str = ""
    """Why sessions without the overlay are not isolated from services of the machine; "" if they are."""
    no_sessions: bool = False
    """It only joins its machine to the overlay."""
    labels: tuple[str, ...] = ()
    """KEY=VALUE."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The periodic report of a runner about itself and its current netmap."""

    capacity: Capacity
    underlay: Underlay | None = None
    """None if it has no overlay."""
    netmap_generation: int = 0
    netmap_digest: str = ""
    """`Netmap.digest` of its netmap; '' while it has none."""
    problems: tuple[Problem, ...] = ()
    """Problems of its part of the overlay."""
    engine_problem: str = ""
    """Why no session can start on it now; "" if the container engine is available."""
    isolation_problem: str = ""
    """Why sessions without the overlay are not isolated from services of the machine; "" if they are."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to a runner's hello; the interval is in seconds."""

    runner: str
    """NAME of the runner."""
    heartbeat_interval: float
    lease: Lease
    overlay_settings: OverlaySettings
    """Includes the cluster id."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All assignments were sent, as of this revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class LogRequest:
    """A request for the logs of a session or a task, to be answered on the stream with this id."""

    stream_id: str
    session_uid: str
    tail_lines: int
    follow: bool
    since: datetime | None = None
    """Only lines written after this time."""
    task_id: str = ""
    """In place of `session_uid`; then no `tail_lines` means all."""


def _is_host(text: str) -> bool:
    """Whether the text is a unicast IP address in canonical form."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified) and "%" not in text and text == str(address)
