"""The ports of the runner, as Protocols: a container engine, and the connection to the control plane."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from datetime import datetime
from typing import Protocol, TypeVar

from netvps.domain.access.identity import AgentCredential
from netvps.domain.image.copies import ImageRequest, MissingLayer
from netvps.domain.image.image import Image, ImageProgress
from netvps.domain.image.work import BootstrapImage, BuildImage, ImageLog, PublishImage
from netvps.domain.metrics import Counters, MetricsReport, MetricsRequest
from netvps.domain.overlay.netmap import NetmapUpdate
from netvps.domain.overlay.peer_health import ProbeReport, ProbeRequest
from netvps.domain.runner.gpu import Gpu
from netvps.domain.runner.runner import Capacity, CaughtUp, Heartbeat, LogRequest, RunnerHello, Welcome
from netvps.domain.session.attachment import Attachment
from netvps.domain.session.blueprint import Blueprint
from netvps.domain.session.container import Container, Observed, SavedImage, SourceImage
from netvps.domain.session.exec import Stderr
from netvps.domain.session.kept import SavedFiles
from netvps.domain.session.limits import Limits
from netvps.domain.session.session import Assignment, SessionReport, SnapshotImage
from netvps.domain.snapshot.browse import Entry
from netvps.domain.snapshot.copies import CopyOrder, CopyPart, CopyReport, CopyRequest, MissingPart
from netvps.domain.snapshot.diff import Diff, DiffOrder
from netvps.domain.snapshot.exchange import ExportOrder, FilesAnswer, FilesRequest
from netvps.domain.snapshot.saved import SavedSnapshot
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.domain.task.task import TaskOrder, TaskReport

A = TypeVar("A")
Progress = Callable[[str], None]
"""Takes a line of progress to show to the user."""


class Containers(Protocol):
    """The containers of sessions, one each. Every call has a timeout, and succeeds or fails as a whole."""

    async def inspect(self, assignment: Assignment) -> Observed:
        """Inspects a session; looks up `source` only if there is no container."""

    async def pull(self, reference: str, progress: Progress) -> None:
        """Pulls an image. The error tells a wrong name, a missing login and an unreachable registry apart."""

    async def create(self, plan: Blueprint) -> None:
        """Creates the container, and its network if needed."""

    async def bridge(self, address: str) -> str:
        """Returns the overlay bridge's address for a container with this address. Raises Unavailable if not ready."""

    async def move(self, container: Container, to: Attachment) -> None:
        """Moves a container to another network or address; idempotent."""

    async def start(self, container: Container) -> None:
        """Starts a container, and ends it first if it is held; idempotent."""

    async def signal(self, container: Container, signal: str) -> None:
        """Sends a signal ("TERM") to PID 1; ignores that it does not run."""

    async def pause(self, container: Container) -> None:
        """Freezes a container; idempotent. Its connections stay open."""

    async def unpause(self, container: Container) -> None:
        """Unpauses a container; idempotent."""

    async def reclaim(self, container: Container, given_up: Callable[[], bool]) -> int:
        """Takes back memory of a paused container where the kernel can; returns the bytes.

        Ends early once `given_up`, callable in any thread, returns true.
        """

    async def resize(self, container: Container, to: Limits) -> None:
        """Changes the limits of a container, running or not; raises a NetvpsError if more is in use."""

    async def remove(self, container: Container) -> None:
        """Removes a container; idempotent."""


class Snapshots(Protocol):
    """Data of stopped sessions outside their containers: copies of their files, and snapshots, which are images.

    Each operation is abandoned when the container starts, or when `given_up`, callable in any thread, returns true.
    """

    async def copy(self, assignment: Assignment, container: Container, given_up: Callable[[], bool]) -> bool:
        """Copies what a stopped container wrote to the runner's own folder; returns whether it was completed."""

    async def provide(self, session_uid: str, files: SavedFiles, progress: Progress) -> SourceImage:
        """Returns the image that a session's copy is based on; loads or pulls it if needed."""

    async def restore(self, plan: Blueprint, replaced: Container | None) -> None:
        """Creates the container from its session's copy; an incomplete one never has its final name.

        `replaced` is a stopped container with the same files, removed once the new one is complete.
        """

    async def commit(
        self, uid: str, assignment: Assignment, container: Container, *, flatten: bool, given_up: Callable[[], bool]
    ) -> SnapshotImage | None:
        """Takes and verifies snapshot `uid`; it gets its name only then. Returns None if abandoned.

        Raises Exhausted if there is no space.
        """

    async def flatten(
        self, uid: str, assignment: Assignment, saved: SavedImage, given_up: Callable[[], bool]
    ) -> SnapshotImage | None:
        """Takes single-layer snapshot `uid` of a snapshot's content; it gets its name only once verified.

        Returns None if another is being written, or if `given_up`, callable in any thread, returned true.
        """

    async def take_snapshot(
        self,
        assignment: Assignment,
        uid: str,
        container: Container | None,
        given_up: Callable[[], bool],
        source: SnapshotSource | None = None,
    ) -> bool:
        """Takes snapshot `uid` of a container, paused meanwhile if it runs; or of the copy, or the same as `source`.

        Returns whether it is complete; if not, it was abandoned. Raises Exhausted, and WrongState if it cannot be.
        """

    async def keep_snapshot(self, assignment: Assignment, uid: str, run: str) -> SavedSnapshot | None:
        """Makes the copy of a session snapshot `uid`, too, without copying; None if the copy is not of that run."""

    async def drop_snapshot(self, assignment: Assignment, uid: str) -> None:
        """Removes a snapshot; idempotent."""

    async def adopt_snapshot(self, session_uid: str, uid: str, run: str) -> None:
        """Makes snapshot `uid`, of that run of its session, the session's copy, too."""

    async def disown(self, session_uid: str, uid: str) -> frozenset[str]:
        """Makes a damaged archive no snapshot and no copy of a session any more; `uid` '' is the copy.

        Returns the uids of the snapshots that are lost with it here.
        """

    async def provide_below(self, session_uid: str, uid: str, progress: Progress) -> SourceImage:
        """Returns the image below a snapshot of a session; loads or pulls it if needed."""

    async def make_from(self, plan: Blueprint, source: SnapshotSource) -> None:
        """Creates the container from a snapshot of its own session or of another, without its final name.

        With the snapshot of another session, it gets another machine id. What exists is left alone.
        """

    async def take_place(self, plan: Blueprint, source: SnapshotSource, replaced: Container | None) -> None:
        """Removes a stopped container, restores the volumes, and gives the new container its final name.

        A snapshot of its own session becomes its copy, too. Where this fails, both steps have to be repeated.
        """

    async def tidy(self, assignment: Assignment) -> None:
        """Removes remains of interrupted snapshots; not to be called while one is being made."""

    async def prune(self, images: tuple[SavedImage, ...]) -> None:
        """Removes snapshot images."""

    async def erase(self, session_uid: str, digest: str = "") -> None:
        """Removes everything of a session: container, images, volumes, copy. Idempotent.

        `digest` is the recorded snapshot's, whose image is removed even if its name was removed by hand.
        """


class Machine(Protocol):
    """The engine as a whole."""

    async def capacity(self) -> Capacity:
        """Reports the machine's capacity and free disk space."""

    async def owned(self) -> frozenset[str]:
        """Returns the uids of sessions with a container, image, volume or copy of this runner."""

    async def mounted(self) -> frozenset[str]:
        """Returns the host paths that any container mounts, including foreign and stopped ones."""

    async def watch(self, changed: Callable[[str], None]) -> None:
        """Calls `changed` (on the loop) with the uid of a session whose container changed. Never returns.

        Calls `changed("")` after every connection, as events before it are unknown, and when the engine disappears.
        """

    def logs(
        self, session_uid: str, tail_lines: int, *, follow: bool, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yields what the container wrote after `since`, in pieces of at most 64 KiB. Raises NotFound."""


class SnapshotReader(Protocol):
    """The files of one snapshot, which stay readable if it is deleted. Methods block.

    Paths are absolute; links in them are not followed. They raise OSError.
    """

    def entry(self, path: str) -> Entry:
        """The file, folder or link at a path."""

    def entries(self, path: str) -> list[Entry]:
        """What a folder holds, by name."""

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Bytes of a file; fewer than asked for at its end."""

    def close(self) -> None:
        """Frees it. Idempotent."""


class Files(Protocol):
    """What someone asks of the files of sessions and snapshots, and waits for. It changes no session."""

    async def diff(self, session_uid: str, order: DiffOrder) -> Diff:
        """Compares two states. Raises WrongState, NotFound, and Exhausted if they have too many files."""

    def export(self, session_uid: str, order: ExportOrder) -> AsyncGenerator[bytes, None]:
        """Yields a snapshot as a portable archive, in pieces of up to 64 KiB. Raises NotFound, DataLoss, Exhausted."""

    async def browse(self, session_uid: str, uid: str) -> SnapshotReader:
        """Opens the files of a snapshot for reading. Raises ImageNotFound, Exhausted."""

    async def take_in(self, session_uid: str, uid: str, incoming: AsyncIterator[bytes]) -> SavedSnapshot:
        """Makes snapshot `uid` of a portable archive, once all of it is checked.

        Raises InvalidInput if it is no such archive or not a safe one, DataLoss if it is damaged, Exhausted.
        """


class Engine(Containers, Snapshots, Files, Machine, Protocol):
    """A container engine."""


class HostFilter(Protocol):
    """Packet filter rules that isolate sessions without the overlay from services of their machine."""

    async def ensure(self) -> str:
        """Loads the rules if needed; returns why that failed, or ""."""


class GpuReader(Protocol):
    """Reads the GPUs of this machine."""

    async def read(self) -> tuple[tuple[Gpu, ...] | None, str]:
        """Returns the GPUs, and why there are none or some cannot be used; None if the driver does not answer."""


class Meter(Protocol):
    """Reads what sessions and the machine use."""

    async def find(self, session_uids: Collection[str]) -> None:
        """Looks up the processes of sessions that it does not know, or that have ended, with the engine."""

    async def read(self, session_uids: Collection[str], *, machine: bool) -> dict[str, Counters]:
        """Reads the counters of sessions whose processes are known, and of the machine (key MACHINE).

        Does not wait for the engine. A session that does not run is left out.
        """


class Environments(Protocol):
    """The images of this machine that sessions can be made from."""

    async def list_images(self, reference: str = "") -> tuple[Image, ...]:
        """All images, once by each name; or the one with a name."""

    async def delete_image(self, reference: str) -> None:
        """Removes an image. Raises NotFound, and WrongState if a container uses it."""

    def build_image(
        self, work: BuildImage, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[Image | ImageProgress | ImageLog, None]:
        """Builds an image from the context that comes in: yields what the builder says and progress, then the image.

        Raises InvalidInput if the context is damaged or not safe, WrongState if a step fails, Exhausted.
        """

    def bootstrap_image(self, work: BootstrapImage) -> AsyncGenerator[Image | ImageProgress, None]:
        """Builds an environment with debootstrap: yields progress, then the image. Raises WrongState, Exhausted."""

    def publish_image(self, work: PublishImage) -> AsyncGenerator[Image | ImageProgress, None]:
        """Makes an image of a stopped session: yields progress, then the image.

        Raises NotFound, WrongState, Exhausted.
        """

    def pull_image(self, reference: str) -> AsyncGenerator[Image | ImageProgress, None]:
        """Pulls an image: yields progress, then the image.

        Raises NotFound, NotPermitted, Unavailable, Exhausted, and WrongState if it is for another architecture.
        """


FilesServer = Callable[[AsyncIterator[bytes]], AsyncIterator[FilesAnswer]]
"""Takes what a caller sends, and yields what the caller gets."""


class Travel(Protocol[A]):
    """The snapshots of this machine on their way from and to other runners. `A` is one that is arriving."""

    def is_here(self, session: str, snapshot: str) -> bool:
        """Whether a snapshot is complete here. Reads a small file."""

    def read(self, session: str, snapshot: str, part: CopyPart, offset: int) -> AsyncGenerator[bytes, None]:
        """Yields a part of a snapshot, from an offset on. Raises NotFound."""

    async def arriving(self, session: str, snapshot: str, description: bytes) -> A:
        """Parses the description of a snapshot at another runner. Raises DataLoss."""

    async def missing(self, arrival: A) -> list[MissingPart]:
        """The parts that have to be transferred. Raises Exhausted if there is no room for them."""

    async def receive(
        self, arrival: A, part: CopyPart, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        """Adds pieces to a part until it is complete. Raises DataLoss if it is damaged."""

    async def provide_image(self, arrival: A) -> None:
        """Pulls the image below a snapshot, if a registry has it. Raises NotFound, NotPermitted, Unavailable."""

    async def finish(self, arrival: A) -> None:
        """Makes what arrived a snapshot of this machine; it is on disk when this returns."""

    async def drop(self, session: str, snapshot: str) -> None:
        """Removes a snapshot; idempotent."""


class ImageTravel(Protocol[A]):
    """The images of this machine on their way from and to other runners. `A` is one that is arriving."""

    def read(self, request: ImageRequest) -> AsyncGenerator[bytes, None]:
        """Yields the description of an image, or a layer from an offset on. Raises NotFound, Exhausted."""

    async def arriving(self, reference: str, description: bytes) -> A:
        """Parses the description of an image at another runner. Raises DataLoss, WrongState if it cannot run here."""

    def image_id(self, arrival: A) -> str:
        """The id of an image at the runner that sends it."""

    async def missing(self, arrival: A, *, all_layers: bool) -> list[MissingLayer]:
        """The layers that have to be transferred, also those that the engine has if `all_layers`. Raises Exhausted."""

    async def receive(
        self, arrival: A, layer: str, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        """Adds pieces to a layer until it is complete. Raises DataLoss if it is damaged."""

    async def finish(self, arrival: A) -> bool:
        """Makes what arrived an image of this machine; False if the engine needs all layers. Raises WrongState."""


FromRunner = SessionReport | Heartbeat | ProbeReport | MetricsReport | CopyReport | TaskReport
ToRunner = (
    Welcome | Assignment | CaughtUp | NetmapUpdate | LogRequest | ProbeRequest | MetricsRequest | FilesRequest
    | CopyOrder | CopyRequest | ImageRequest | TaskOrder
)  # fmt: skip


class Link(Protocol):
    """The connection to the control plane."""

    def connect(self, hello: RunnerHello, outgoing: AsyncIterator[FromRunner]) -> AsyncGenerator[ToRunner, None]:
        """Opens the stream; it ends, or raises a NetvpsError, when the connection is lost.

        The first message is Welcome.
        """

    async def reopen(self) -> None:
        """Replaces the connection, because this machine's address has changed and the old one is dead."""

    async def agent_credential(self, session_uid: str, epoch: int) -> AgentCredential:
        """Requests a new key and certificate for the session's agent."""

    def read_copy(self, request: CopyRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        """Reads a part of a snapshot from the runner `source`, by its uid; '' lets the control plane choose.

        Yields that runner's uid with no bytes, then '' with each piece.
        """

    def read_image(self, request: ImageRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        """Reads a part of an image, as `read_copy`; '' lets the control plane choose a runner with the newest one."""

    async def send_copy(self, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        """Sends a part; sends a NetvpsError raised by `pieces` as the reason for the end."""

    async def send_logs(self, stream_id: str, pieces: AsyncIterator[bytes | Stderr]) -> None:
        """Sends the pieces; sends a NetvpsError raised by `pieces` as the reason for the end."""

    async def carry_files(self, stream_id: str, work: FilesServer) -> None:
        """Connects `work` with the caller that a FilesRequest is for; sends a NetvpsError that it raises."""
