"""The container of a session: what is wanted and what is there go in, the next step comes out.

    wanted RUNNING   fetch → create → start → rest          exited: (move →) start again     paused: unpause
    wanted STOPPED   terminate → commit → record → remove → prune → (flatten → record → prune →) rest
    wanted DELETED   erase

`next_step` looks at nothing but its arguments, so a crash between any two steps costs nothing: the same comparison
finds the same next step. One rule stands above the others: a container is removed only if what it holds is in a
snapshot that is on this machine *and* recorded by the control plane. What a snapshot holds is known exactly, not by
clocks: its image carries the id of the container and the times of the run after which it was taken (`Container.run`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from netvps.domain.attachment import Attachment, attachment_at_once, attachment_of
from netvps.domain.docker_names import snapshot_number
from netvps.domain.session import Assignment, DesiredState, LastExit, SessionState, Snapshot

FLATTEN_FROM: Final = 25
"""Layers from which on a snapshot is replaced by one of one layer, once its session is stopped and for as long as it
is; Docker refuses 125, and is slow long before."""
FLATTEN_NOW: Final = 100
"""Layers from which on the stop itself writes one layer: it never was stopped for long enough."""
ENGINE_AWAY: Final = "ENGINE_AWAY"
"""Reason of errors that say nothing about the session, only that the engine cannot be asked now."""
OVERLAY_AWAY: Final = "OVERLAY_AWAY"
"""Reason of errors that say as little: the overlay is not there yet on this machine, or not as the address wants it."""
_SIGKILL_EXIT: Final = 137
_SIGNAL_EXIT: Final = 128
_LAST_SIGNAL: Final = 64


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
class Commit:
    """Take a snapshot; as one layer if `flatten`."""

    container: Container
    flatten: bool


@dataclass(frozen=True, slots=True)
class Record:
    """Report the snapshot, and wait until the assignment comes back with it.

    `at_rest`: it takes the place of one that is recorded, and holds the same; the session is stopped meanwhile.
    """

    snapshot: Snapshot
    at_rest: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the container; all it holds is in this snapshot."""

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
    Fetch | Create | Move | Start | Unpause
    | Terminate | Commit | Record | Remove | Prune | Flatten
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
            return _start(want, container) if want.desired is DesiredState.RUNNING else _put_away(want, seen, container)


def source_of(want: Assignment, saved: tuple[SavedImage, ...]) -> str:
    """The image to make the container from: the latest snapshot if there is one, else what the spec says."""
    newest = Seen(saved=saved).newest
    if newest and (want.snapshot is None or _order(newest.snapshot) >= _order(want.snapshot)):
        return newest.snapshot.image
    return want.snapshot.image if want.snapshot else want.spec.image


def _without_container(want: Assignment, seen: Seen) -> Step:
    if want.desired is DesiredState.STOPPED:
        return _tidy(want, seen)
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


def _start(want: Assignment, container: Container) -> Step:
    wanted = attachment_of(want)
    return Start(container) if container.attachment in {wanted, None} else Move(container, wanted)


def _put_away(want: Assignment, seen: Seen, container: Container) -> Step:
    held = _holding(seen, container)
    if held is None:
        return Commit(container, flatten=container.layers >= FLATTEN_NOW)
    if _recorded(want, held):
        return Remove(container, held)
    return Record(replace(held.snapshot, generation=want.generation))


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
        flat = any(image.run == newest.run and _is_recorded(want, image) for image in seen.saved)
        return Record(replace(newest.snapshot, generation=want.generation), at_rest=flat)
    older = tuple(image for image in seen.saved if _order(image.snapshot) < _order(want.snapshot))
    if older and len(older) < len(seen.saved):
        return Prune(older)
    if newest.snapshot.layers >= FLATTEN_FROM and _is_recorded(want, newest):
        return Flatten(newest)
    return Rest(SessionState.STOPPED)


def _holding(seen: Seen, container: Container) -> SavedImage | None:
    return next((image for image in reversed(seen.saved) if image.run == container.run), None)


def _recorded(want: Assignment, held: SavedImage) -> bool:
    """Whether the control plane knows this very image, as the snapshot of the stop that is asked for."""
    return _is_recorded(want, held) and want.snapshot is not None and want.snapshot.generation == want.generation


def _is_recorded(want: Assignment, held: SavedImage) -> bool:
    return want.snapshot is not None and want.snapshot.digest == held.snapshot.digest


def last_exit(container: Container, *, asked: bool, survived_oom: bool) -> LastExit | None:
    """How a container ended; None if it never ran.

    `asked`: we told it to stop. `survived_oom`: an OOM kill was seen while it ran on, and none after. Exit code 137
    alone is no proof of OOM: any SIGKILL looks like that.
    """
    if container.ended is None or container.status is not Status.EXITED:
        return None
    code = container.exit_code
    if asked:
        cause = "stopped"
    elif code == _SIGKILL_EXIT and container.oom_killed and not survived_oom:
        cause = "oom"
    elif _SIGNAL_EXIT < code <= _SIGNAL_EXIT + _LAST_SIGNAL:
        cause = "killed"
    else:
        cause = "exit"
    return LastExit(exit_code=code, cause=cause, end_time=container.ended)


def restart_delay(failures: int, jitter: float) -> float:
    """Seconds before start number `failures` + 1 of a container that keeps ending: 1 to 60; `jitter` in [0, 1)."""
    if failures <= 0:
        return 0.0
    longest = min(60.0, 2.0 ** min(failures, 10))
    return max(1.0, longest * (0.5 + jitter / 2))


def _order(snapshot: Snapshot) -> tuple[int, datetime]:
    """By number: the clock may have been set back between two snapshots."""
    return snapshot_number(snapshot.image), snapshot.create_time


def _time(value: datetime | None) -> str:
    return value.isoformat() if value else "-"
