"""What the runner needs of the world, as Protocols: an engine for containers, and the link to the control plane."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import datetime
from typing import Protocol

from netvps.domain.attachment import Attachment
from netvps.domain.blueprint import Blueprint
from netvps.domain.container import Container, SavedImage, Seen, SourceImage
from netvps.domain.identity import AgentCredential
from netvps.domain.kept import SavedFiles
from netvps.domain.overlay.health import ProbeReport, ProbeRequest
from netvps.domain.overlay.netmap import NetmapUpdate
from netvps.domain.runner import Capacity, CaughtUp, Heartbeat, LogRequest, RunnerHello, Welcome
from netvps.domain.session import Assignment, SessionReport, Snapshot

Progress = Callable[[str], None]
"""Takes a line for people."""


class Containers(Protocol):
    """The containers of sessions, one for each. Every call is bounded in time, and done or not done: never half."""

    async def look(self, want: Assignment) -> Seen:
        """All there is of a session; `source` is looked up only where there is no container."""

    async def pull(self, reference: str, progress: Progress) -> None:
        """Gets an image from its registry. The error says whether it was the name, the login or the network."""

    async def create(self, plan: Blueprint) -> None:
        """Makes the container, and its network if there is none."""

    async def bridge(self, address: str) -> str:
        """The address of the overlay's bridge for a container with this one. Raises Unavailable: none yet."""

    async def move(self, container: Container, to: Attachment) -> None:
        """Puts a container on another network, or address. Again is fine."""

    async def start(self, container: Container) -> None:
        """Starts it. One that runs already is no error."""

    async def signal(self, container: Container, signal: str) -> None:
        """Sends "TERM" or "KILL" to its first process. One that does not run is no error."""

    async def unpause(self, container: Container) -> None:
        """Lets it run on. One that is not paused is no error."""

    async def remove(self, container: Container) -> None:
        """Removes it. One that is gone is no error."""


class Snapshots(Protocol):
    """What is kept of stopped sessions beside their containers: copies of their files, and snapshots, which are images.

    Each is given up when the container is started, or when `given_up`, which any thread may ask, says so.
    """

    async def copy(self, want: Assignment, container: Container, given_up: Callable[[], bool]) -> bool:
        """Copies what a stopped container wrote to the runner's own folder; whether that was done."""

    async def provide(self, session_uid: str, files: SavedFiles, progress: Progress) -> SourceImage:
        """The image on which the copied files of a session stand; loads or pulls it unless the engine has it."""

    async def restore(self, plan: Blueprint, replaced: Container | None) -> None:
        """Makes the container with the copied files of its session; one that is not whole never has its name.

        `replaced` is a stopped container that holds the same: it is removed when the other is whole.
        """

    async def commit(
        self, uid: str, want: Assignment, container: Container, *, flatten: bool, given_up: Callable[[], bool]
    ) -> Snapshot | None:
        """Takes snapshot `uid` and verifies it; it has its name only once it is good; None if it was given up.

        Raises Exhausted: no space.
        """

    async def flatten(
        self, uid: str, want: Assignment, saved: SavedImage, given_up: Callable[[], bool]
    ) -> Snapshot | None:
        """Takes snapshot `uid`, of one layer, of what a snapshot holds; it has its name only once it is good.

        None if another is being written, or if it was `given_up`, which any thread may ask.
        """

    async def tidy(self, want: Assignment) -> None:
        """Removes what snapshots that were broken off left; not while one is being made."""

    async def prune(self, images: tuple[SavedImage, ...]) -> None:
        """Removes images of snapshots."""

    async def erase(self, session_uid: str, digest: str = "") -> None:
        """Removes all there is of a session: container, images, volumes, copy. What is gone already is no error.

        `digest` is that of the snapshot that is recorded: its image goes also if somebody took its name away.
        """


class Machine(Protocol):
    """The engine as a whole."""

    async def capacity(self) -> Capacity:
        """What the machine has, and how much disk is free."""

    async def owned(self) -> frozenset[str]:
        """Uids of all sessions of which there is a container, an image, a volume or a copy of this runner."""

    async def mounted(self) -> frozenset[str]:
        """Host paths that any container mounts, whosever it is, running or not."""

    async def watch(self, changed: Callable[[str], None]) -> None:
        """For ever calls `changed` (on the loop) with the uid of a session whose container did something.

        After every connection it calls `changed("")`, since anything may have happened; and when the engine goes away.
        """

    def logs(
        self, session_uid: str, tail_lines: int, *, follow: bool, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        """What the container wrote after `since`, in pieces of at most 64 KiB. Raises NotFound if there is none."""


class Engine(Containers, Snapshots, Machine, Protocol):
    """A container engine."""


class HostFilter(Protocol):
    """Rules of the packet filter that keep sessions without the overlay from services of their machine."""

    async def keep(self) -> str:
        """Sees to it that they are loaded; returns why they are not, or ""."""


FromRunner = SessionReport | Heartbeat | ProbeReport
ToRunner = Welcome | Assignment | CaughtUp | NetmapUpdate | LogRequest | ProbeRequest


class Link(Protocol):
    """The connection to the control plane."""

    def connect(self, hello: RunnerHello, outgoing: AsyncIterator[FromRunner]) -> AsyncGenerator[ToRunner, None]:
        """One stream; it ends, or raises a NetvpsError, when the connection is lost. Welcome comes first."""

    async def reopen(self) -> None:
        """Drops the connection for a new one: packets of the old come from an address that this machine has no more."""

    async def agent_credential(self, session_uid: str, epoch: int) -> AgentCredential:
        """A new key and certificate for the session's agent."""

    async def send_logs(self, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        """Sends the pieces; a NetvpsError that `pieces` raises is sent as the reason why there are no more."""
