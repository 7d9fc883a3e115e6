"""The container of a session: what is wanted and what is there go in, the next step comes out.

    wanted RUNNING   fetch → create → start → rest          exited: (move →) start again     paused: unpause
                     no container: restore (from the runner's copy), or create (from the snapshot)
    wanted STOPPED   terminate → (copy → commit → record → prune →) rest; the container is kept
                     no container: record → prune → (flatten → record → prune →) rest
    wanted DELETED   erase

`next_step` looks at nothing but its arguments, so a crash between any two steps costs nothing: the same comparison
finds the same next step. The container of a stopped session is the session: it is started again. A copy of its files
in the runner's own folder and a snapshot (an image) follow in the background, and nothing depends on them while it
exists. What they hold is known exactly, not by clocks: they carry its id and the times of its last run (`run`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from netvps.domain.attachment import Attachment, attachment_at_once, attachment_of
from netvps.domain.docker_names import snapshot_number
from netvps.domain.kept import LastRun, SavedFiles
from netvps.domain.session import Assignment, DesiredState, SessionState, Snapshot

FLATTEN_FROM: Final = 25
"""Layers from which on a snapshot is replaced by one of one layer, once its session is stopped and for as long as it
is and has no container. Docker refuses 125, and is slow long before."""
FLATTEN_NOW: Final = 100
"""Layers of a container from which on its snapshot is written as one layer at once."""
ENGINE_AWAY: Final = "ENGINE_AWAY"
"""Reason of errors that say nothing about the session, only that the engine cannot be asked now."""
OVERLAY_AWAY: Final = "OVERLAY_AWAY"
"""Reason of errors that say as little: the overlay is not there yet on this machine, or not as the address wants it."""


class Status(StrEnum):
    """What Docker says of a container."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"
    """A removal failed half-way; it cannot be started any more."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a session as it was found. One of an earlier epoch is taken over: its files are the owner's."""

    id: str
    status: Status
    layers: int
    """Of the image it was made from."""
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    """The OOM killer ended something in it during this run."""
    oom_kills: int | None = None
    """The same from the cgroup's counter; None if it cannot be read (any more)."""
    address: str = ""
    """While it runs."""
    attachment: Attachment | None = None
    """Also while it does not run; None if that is not known."""
    image: str = ""
    """Id of that image."""
    files: str = ""
    """Folder of this machine with what it wrote over that; '' if it cannot be read from here."""
    layout: str = ""
    """Digest of how it was made."""

    @property
    def run(self) -> str:
        """Names this container and its last run: what it holds cannot change without this changing."""
        return " ".join((self.id, _time(self.started), _time(self.ended)))


@dataclass(frozen=True, slots=True)
class SavedImage:
    """A snapshot's image on this machine, complete and verified, and the run of the container that it holds."""

    snapshot: Snapshot
    run: str


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image on this machine to make a container from."""

    reference: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    """Paths for which the image declares volumes."""
    user: str = ""
    """"USER[:GROUP]" that its command runs as; '' is root."""
    working_dir: str = ""
    """That its command runs in; '' is the root folder."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is on this machine of one session."""

    container: Container | None = None
    saved: tuple[SavedImage, ...] = ()
    source: SourceImage | None = None
    """The image that `source_of` names, if it is here."""
    files: SavedFiles | None = None
    last_run: LastRun | None = None
    layout: str = ""
    """How a container would be made now; '' where that does not matter."""

    @property
    def newest(self) -> SavedImage | None:
        """The latest snapshot on this machine."""
        return max(self.saved, key=lambda image: _order(image.snapshot), default=None)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Pull the image."""

    reference: str


@dataclass(frozen=True, slots=True)
class Create:
    """Make the container."""

    source: SourceImage


@dataclass(frozen=True, slots=True)
class Restore:
    """Make the container again, with all files of the runner's copy."""

    files: SavedFiles
    replaced: Container | None = None
    """That is there, holds the same, and was made for another netvps: it mounts an older agent, perhaps."""


@dataclass(frozen=True, slots=True)
class Move:
    """Put the container on another network or address; one that runs goes on without its old address."""

    container: Container
    to: Attachment


@dataclass(frozen=True, slots=True)
class Start:
    """Start the container, be it new, kept, or ended by itself."""

    container: Container


@dataclass(frozen=True, slots=True)
class Unpause:
    """Lift a pause that nobody owns: one left by a commit whose engine died."""

    container: Container


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the processes to end; kill them after the grace."""

    container: Container


@dataclass(frozen=True, slots=True)
class Copy:
    """The session is stopped: copy what its container wrote to the runner's own folder, then the image under that."""

    container: Container


@dataclass(frozen=True, slots=True)
class Commit:
    """The session is stopped: take a snapshot of its container; as one layer if `flatten`."""

    container: Container
    flatten: bool


@dataclass(frozen=True, slots=True)
class Record:
    """The session is stopped: report its snapshot, and wait until the assignment comes back with it."""

    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the container, which cannot be started any more; all it holds is in this snapshot."""

    container: Container
    saved: SavedImage


@dataclass(frozen=True, slots=True)
class Prune:
    """Remove images of older snapshots."""

    images: tuple[SavedImage, ...]


@dataclass(frozen=True, slots=True)
class Flatten:
    """The session is stopped; as long as nothing else is wanted, write its recorded snapshot as one layer."""

    saved: SavedImage


@dataclass(frozen=True, slots=True)
class Rest:
    """All is as wanted."""

    state: SessionState
    address: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Docker is busy with the container: look again soon."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot be done, and nothing is touched; the words are for the owner."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Erase:
    """Remove all there is of the session: its owner asked for that."""


Step = (
    Fetch | Create | Restore | Move | Start | Unpause
    | Terminate | Copy | Commit | Record | Remove | Prune | Flatten
    | Rest | Wait | Refuse | Erase
)  # fmt: skip


def next_step(want: Assignment, seen: Seen) -> Step:  # noqa: PLR0911 — a table
    """What to do next so that what is seen becomes what is wanted."""
    if want.desired is DesiredState.DELETED:
        return Erase()
    container = seen.container
    if container is None:
        return _without_container(want, seen)
    match container.status:
        case Status.REMOVING:
            return Wait()
        case Status.PAUSED:
            return Unpause(container)
        case Status.RUNNING:
            if want.desired is not DesiredState.RUNNING:
                return Terminate(container)
            if to := attachment_at_once(want, container.attachment):
                return Move(container, to)
            return Rest(SessionState.RUNNING, container.address)
        case Status.DEAD:
            return _bury(want, seen, container)
        case _:
            return (
                _start(want, seen, container) if want.desired is DesiredState.RUNNING else _keep(want, seen, container)
            )


def source_of(want: Assignment, saved: tuple[SavedImage, ...]) -> str:
    """The image to make the container from: the latest snapshot if there is one, else what the spec says."""
    newest = Seen(saved=saved).newest
    if newest and (want.snapshot is None or _order(newest.snapshot) >= _order(want.snapshot)):
        return newest.snapshot.image
    return want.snapshot.image if want.snapshot else want.spec.image


def _without_container(want: Assignment, seen: Seen) -> Step:
    last = seen.last_run if seen.last_run and seen.last_run.is_latest(want.snapshot) else None
    if last and not _is_held(seen, last.run):
        return _refuse_older(want, seen)
    if want.desired is DesiredState.STOPPED:
        return _tidy(want, seen)
    if last and seen.files and seen.files.run == last.run:
        return Restore(seen.files)
    if seen.source:
        return Create(seen.source)
    reference = source_of(want, seen.saved)
    if want.snapshot and reference == want.snapshot.image:
        # Never from the plain image instead: the owner's files would seem lost, and a later stop would make it so.
        return Refuse(
            "snapshot",
            f"the snapshot {reference} is not on this machine any more; "
            "load it again (docker load) and start the session, or delete the session",
        )
    return Fetch(reference)


def _is_held(seen: Seen, run: str) -> bool:
    return bool(seen.files and seen.files.run == run) or any(image.run == run for image in seen.saved)


def _refuse_older(want: Assignment, seen: Seen) -> Refuse:
    """Never from an older state, and never from the plain image: the owner decides about that."""
    older = seen.newest
    back = (
        f"to go back to its snapshot of {older.snapshot.create_time:%Y-%m-%d %H:%M:%S} UTC, remove last_runs/"
        f"{want.session_uid}.json from the runner's state folder and start it"
        if older
        else "delete the session"
    )
    return Refuse(
        "container",
        "its container is gone from Docker (docker container prune?), and there is no whole copy of what it wrote in "
        f"its last run: {back}",
    )


def _start(want: Assignment, seen: Seen, container: Container) -> Step:
    if seen.layout not in {"", container.layout} and seen.files and seen.files.run == container.run:
        return Restore(seen.files, container)
    wanted = attachment_of(want)
    return Start(container) if container.attachment in {wanted, None} else Move(container, wanted)


def _keep(want: Assignment, seen: Seen, container: Container) -> Step:
    if container.started is None:
        return Rest(SessionState.STOPPED)  # it never ran: it holds what its image holds
    if container.files and not (seen.files and seen.files.run == container.run and seen.files.image_saved):
        return Copy(container)
    held = _holding(seen, container)
    if held is None:
        return Commit(container, flatten=container.layers >= FLATTEN_NOW)
    if not _is_recorded(want, held):
        return Record(held.snapshot)
    # The image under the container stays, too: the next snapshot is that image and one layer.
    older = tuple(image for image in _older(seen, held.snapshot) if image.snapshot.digest != container.image)
    return Prune(older) if older else Rest(SessionState.STOPPED)


def _bury(want: Assignment, seen: Seen, container: Container) -> Step:
    held = _holding(seen, container)
    if held and _is_recorded(want, held):
        return Remove(container, held)
    return Refuse(
        "container",
        f"Docker gave up removing container {container.id[:12]} half-way, and it holds what no snapshot holds; "
        "restart Docker, save what you need from it, and delete the session",
    )


def _tidy(want: Assignment, seen: Seen) -> Step:
    newest = seen.newest
    if newest is None:
        return Rest(SessionState.STOPPED)
    if want.snapshot is None or _order(newest.snapshot) > _order(want.snapshot):
        # It is flat now; or its container was removed behind our back, and the snapshot is good all the same.
        return Record(replace(newest.snapshot, generation=want.generation))
    older = _older(seen, want.snapshot)
    if older and len(older) < len(seen.saved):
        return Prune(older)
    if newest.snapshot.layers >= FLATTEN_FROM and _is_recorded(want, newest):
        return Flatten(newest)
    return Rest(SessionState.STOPPED)


def _holding(seen: Seen, container: Container) -> SavedImage | None:
    return next((image for image in reversed(seen.saved) if image.run == container.run), None)


def _older(seen: Seen, snapshot: Snapshot) -> tuple[SavedImage, ...]:
    return tuple(image for image in seen.saved if _order(image.snapshot) < _order(snapshot))


def _is_recorded(want: Assignment, held: SavedImage) -> bool:
    return want.snapshot is not None and want.snapshot.digest == held.snapshot.digest


def _order(snapshot: Snapshot) -> tuple[int, datetime]:
    """By number: the clock may have been set back between two snapshots."""
    return snapshot_number(snapshot.image), snapshot.create_time


def _time(value: datetime | None) -> str:
    return value.isoformat() if value else "-"
