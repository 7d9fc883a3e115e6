"""Decides the next action for a session's container from the desired state and the inspected state.

    desired RUNNING  fetch → create → start → rest          exited: (move →) start again     paused: unpause
                     exited, of other GPUs, disk limit: copy → restore → start
                     running: (resize →) rest               exited, and not to be restarted: ended
                     no container: restore (from the runner's copy), or create (from the snapshot)
    desired PAUSED   pause → rest                           exited or gone: ended
    desired STOPPED  (unpause →) terminate → (copy → commit → record → prune →) rest; the container is kept
                     no container: record → prune → (flatten → record → prune →) rest
    desired DELETED  erase

Where it would rest, it takes snapshots (domain.snapshot.steps); a restore in place comes before everything else.

`next_step` depends on its arguments only, so a crash between two steps loses nothing: the next comparison yields the
same step. While the container of a stopped session exists, it holds the session's files and is started again; the
copy of its files in the runner's folder and the snapshot (an image) are written in the background, and nothing
depends on them. Each records the container's id and the times of its last run (`run`), so whether a copy is current
is decided by comparison of these and not by clocks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from netvps.domain.session.attachment import attachment_at_once, attachment_of
from netvps.domain.session.container import Container, SavedImage, Seen, Status, age_of
from netvps.domain.session.lifecycle import GPU, PAUSE_FAILED, RESIZE_REFUSED
from netvps.domain.session.limits import Limits
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.session.steps import (
    Commit,
    Copy,
    Create,
    Ended,
    Erase,
    Fetch,
    Flatten,
    Move,
    Pause,
    Prune,
    Record,
    Refuse,
    Remove,
    Resize,
    Rest,
    Restore,
    Start,
    Step,
    Take,
    Terminate,
    Unpause,
    Wait,
)
from netvps.domain.snapshot.snapshot import Restore as SnapshotRestore
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.domain.snapshot.steps import Clone, Drop, Revert, due_restore, saves_first
from netvps.domain.snapshot.steps import snapshot_to_drop as to_drop
from netvps.domain.snapshot.steps import snapshot_to_take as to_take

FLATTEN_FROM: Final = 25
"""Number of layers from which a snapshot is flattened to one layer, while its session is stopped and has no container.
Docker refuses more than 125 layers, and is slow long before that.
"""
FLATTEN_NOW: Final = 100
"""Number of layers of a container from which its snapshot is written as one layer at once."""


def next_step(want: Assignment, seen: Seen) -> Step:
    """The next action towards the desired state."""
    if want.desired is DesiredState.DELETED:
        return Erase()
    if uid := to_drop(want, seen):
        return Drop(uid)
    if restore := due_restore(want, seen):
        return _revert(restore, seen)
    step = _towards_desired(want, seen)
    if isinstance(step, Rest) and (uid := to_take(want, seen)):
        return Take(uid, seen.container, step)
    return step


def _revert(restore: SnapshotRestore, seen: Seen) -> Step:
    container = seen.container
    match container.status if container else None:
        case Status.REMOVING:
            return Wait()
        case Status.PAUSED if container:
            return Unpause(container)
        case Status.RUNNING if container:
            return Terminate(container)
        case _:
            if saves_first(restore, seen):
                return Take(restore.previous, container, Rest(SessionState.PREPARING))
            return Revert(restore, container)


def _towards_desired(want: Assignment, seen: Seen) -> Step:
    container = seen.container
    if container is None:
        gone = Ended("its container was removed from Docker while it was paused")
        return gone if want.desired is DesiredState.PAUSED else _without_container(want, seen)
    match container.status:
        case Status.REMOVING:
            return Wait()
        case Status.PAUSED:
            paused = want.desired is DesiredState.PAUSED
            return _live(want, seen, container, SessionState.PAUSED) if paused else Unpause(container)
        case Status.RUNNING:
            return Terminate(container) if want.desired is DesiredState.STOPPED else _running(want, seen, container)
        case Status.DEAD:
            return _bury(want, seen, container)
        case _:
            return _at_rest(want, seen, container)


def source_of(want: Assignment, saved: tuple[SavedImage, ...]) -> str:
    """Reference of the image to make the container from: the latest snapshot if there is one, else the spec's image."""
    newest = Seen(saved=saved).newest
    if newest and (want.snapshot is None or age_of(newest.snapshot) >= age_of(want.snapshot)):
        return newest.snapshot.image
    return want.snapshot.image if want.snapshot else want.spec.image


def _running(want: Assignment, seen: Seen, container: Container) -> Step:
    if to := attachment_at_once(want, container.attachment):
        return Move(container, to)
    if want.desired is DesiredState.PAUSED and not seen.cannot_pause:
        return Pause(container)
    return _live(want, seen, container, SessionState.RUNNING)


def _live(want: Assignment, seen: Seen, container: Container, state: SessionState) -> Step:
    if (to := _new_limits(want, seen, container)) is None:
        if seen.cannot_pause:
            return Rest(state, container.address, container, PAUSE_FAILED, seen.cannot_pause)
        if gone := _gone_gpus(want, seen):
            return Rest(state, container.address, container, GPU, f"{gone}; stop and start it to get another one")
        return Rest(state, container.address, container)
    if seen.refused and seen.refused[0] == to:
        return Rest(state, container.address, container, RESIZE_REFUSED, seen.refused[1])
    return Resize(container, to)


def _new_limits(want: Assignment, seen: Seen, container: Container) -> Limits | None:
    if container.limits is None:
        return None
    return want.spec.limits.on(seen.machine).differing(container.limits.on(seen.machine))


def _at_rest(want: Assignment, seen: Seen, container: Container) -> Step:
    if want.desired is DesiredState.STOPPED:
        return _keep(want, seen, container)
    if want.desired is DesiredState.PAUSED:
        return Ended("its container ended while it was paused; its files are kept")
    return Ended(seen.stays_down) if seen.stays_down else _start(want, seen, container)


def _without_container(want: Assignment, seen: Seen) -> Step:  # noqa: PLR0911 — a table
    last = seen.last_run if seen.last_run and seen.last_run.is_latest(want.snapshot) else None
    if last and not (seen.files and seen.files.run == last.run) and not seen.holding(last.run):
        return _refuse_older(want, seen)
    if want.desired is DesiredState.STOPPED:
        return _tidy(want, seen)
    if last and seen.files and seen.files.run == last.run:
        return Restore(seen.files)
    if want.source and last is None and want.snapshot is None and not seen.saved:
        return _clone(want.source, seen)
    if gone := _gone_gpus(want, seen):
        return Refuse(GPU, f"{gone}; start the session again to get another one")
    if seen.source:
        return Create(seen.source)
    reference = source_of(want, seen.saved)
    if want.snapshot and reference == want.snapshot.image:
        # Never fall back to the plain image: the owner would see no files, and the next stop would commit that state.
        return Refuse(
            "snapshot",
            f"the snapshot {reference} is not on this machine any more; "
            "load it again (docker load) and start the session, or delete the session",
        )
    return Fetch(reference)


def _clone(source: SnapshotSource, seen: Seen) -> Clone | Refuse:
    """Never from the plain image: the owner would see a session without the files that were cloned."""
    if source.uid in seen.snapshots:
        return Clone(source)
    return Refuse(
        "snapshot",
        "the snapshot that it was cloned from is not on this machine any more; delete it, and clone again",
    )


def _refuse_older(want: Assignment, seen: Seen) -> Refuse:
    """Never start from an older state or from the plain image without the owner's decision."""
    older = seen.newest
    back = (
        f"to go back to its snapshot of {older.snapshot.create_time:%Y-%m-%d %H:%M:%S} UTC, remove last_runs/"
        f"{want.session_uid}.json from the runner's state folder and start it"
        if older
        else "delete the session"
    )
    return Refuse(
        "container",
        "its container is gone from Docker (docker container prune?), and there is no complete copy of the files of "
        f"its last run: {back}",
    )


def _start(want: Assignment, seen: Seen, container: Container) -> Step:
    if gone := _gone_gpus(want, seen):
        return Refuse(GPU, f"{gone}; start the session again to get another one")
    if step := _made_again(want, seen, container):
        return step
    wanted, limits = attachment_of(want), _new_limits(want, seen, container)
    if container.attachment not in {wanted, None}:
        return Move(container, wanted)
    if limits and not (seen.refused and seen.refused[0] == limits):
        return Resize(container, limits)
    return Start(container)


def why_made_again(want: Assignment, container: Container, *, lxcfs: bool) -> str:
    """Why a stopped container is made again before its next start; '' if it is not. `lxcfs` is on its machine."""
    if container.gpus != want.gpus:
        return "its container was made with other GPUs"
    if container.lxcfs and not lxcfs:
        return "lxcfs, whose files its container mounts, is not on its machine any more"
    return "its disk limit has changed" if container.disk_bytes != want.spec.disk_bytes else ""


def _made_again(want: Assignment, seen: Seen, container: Container) -> Step | None:
    """What makes the container again, with all its files, if it cannot start, or not as its owner wants it.

    One of another layout only where that costs nothing: it is as good as a new one.
    """
    why = why_made_again(want, container, lxcfs=seen.lxcfs)
    copied = seen.files is not None and seen.files.run == container.run
    if seen.files and copied and (why or seen.layout not in {"", container.layout}):
        return Restore(seen.files, container)
    if why and container.files and not seen.cannot_make:
        return Copy(container)
    if container.gpus != want.gpus or (container.lxcfs and not seen.lxcfs):  # it must not start, or cannot
        hint = seen.cannot_make or "its files cannot be copied here, which needs a runner as root and storage overlay2"
        return Refuse("container", f"{why}, so it has to be made again: {hint}")
    return None


def _gone_gpus(want: Assignment, seen: Seen) -> str:
    """Which of the session's GPUs its machine does not have any more; '' for none."""
    gone = [gpu for gpu in want.gpus if seen.gpus is not None and gpu not in seen.gpus]
    return f"{', '.join(gone)} is gone from its machine" if gone else ""


def _keep(want: Assignment, seen: Seen, container: Container) -> Step:
    if container.started is None and not container.restored:
        return Rest(SessionState.STOPPED)  # it never ran, so its content is that of its image
    if container.files and not (seen.files and seen.files.run == container.run and seen.files.image_saved):
        return Copy(container)
    held = seen.holding(container.run)
    if held is None:
        return Commit(container, flatten=container.layers >= FLATTEN_NOW)
    if not _is_recorded(want, held):
        return Record(held.snapshot, held.run)
    # The image below the container is kept, too: the next snapshot is that image plus one layer.
    older = tuple(image for image in seen.older_than(held.snapshot) if image.snapshot.digest != container.image)
    return Prune(older) if older else Rest(SessionState.STOPPED)


def _bury(want: Assignment, seen: Seen, container: Container) -> Step:
    held = seen.holding(container.run)
    if held and _is_recorded(want, held):
        return Remove(container, held)
    return Refuse(
        "container",
        f"Docker gave up removing container {container.id[:12]} half-way, and its files are in no snapshot; "
        "restart Docker, save what you need from it, and delete the session",
    )


def _tidy(want: Assignment, seen: Seen) -> Step:
    newest = seen.newest
    if newest is None:
        return Rest(SessionState.STOPPED)
    if want.snapshot is None or age_of(newest.snapshot) > age_of(want.snapshot):
        # The snapshot was flattened, or its container was removed outside netvps; the snapshot is valid in both cases.
        return Record(replace(newest.snapshot, generation=want.generation), newest.run)
    older = seen.older_than(want.snapshot)
    if older and len(older) < len(seen.saved):
        return Prune(older)
    if newest.snapshot.layers >= FLATTEN_FROM and _is_recorded(want, newest):
        return Flatten(newest)
    return Rest(SessionState.STOPPED)


def _is_recorded(want: Assignment, held: SavedImage) -> bool:
    return want.snapshot is not None and want.snapshot.digest == held.snapshot.digest
