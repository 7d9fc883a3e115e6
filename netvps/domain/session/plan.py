"""Decides the next action for a session's container from the desired state and the inspected state.

    desired RUNNING  fetch → create → start → rest          exited: (move →) start again     paused: unpause
                     exited, of other GPUs, disk limit: copy → restore → start
                     running: (resize →) rest               exited, and not to be restarted: ended
                     no container: restore (from the runner's copy), or create (from the snapshot)
                     held: start, which ends it first    where that does not do: (copy →) terminate
    desired PAUSED   pause → rest                           exited or gone: ended
    desired STOPPED  (unpause →) terminate → (copy → commit → record → prune →) rest; the container is kept
                     one that its agent holds: terminate (PID 1 stays) → copy → terminate → (commit → …) rest
                     no container: record → prune → (flatten → record → prune →) rest
    desired DELETED  erase

Where it would rest, or once its files are copied, it takes snapshots (domain.snapshot.steps). A restore in place comes
before everything else.

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
from netvps.domain.session.container import Container, Observed, SavedImage, Status, age_of
from netvps.domain.session.kept import keeps
from netvps.domain.session.lifecycle import DISK_LIMIT, GPU, PAUSE_FAILED, RESIZE_REFUSED, SNAPSHOT_PENDING
from netvps.domain.session.limits import Limits, bytes_words
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.session.steps import (
    Adopt,
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
_NEEDED: Final = "a runner as root and Docker's storage driver overlay2"


def next_step(assignment: Assignment, observed: Observed) -> Step:
    """The next action towards the desired state."""
    if assignment.desired is DesiredState.DELETED:
        return Erase()
    if uid := to_drop(assignment, observed):
        return Drop(uid)
    if restore := due_restore(assignment, observed):
        return _revert(assignment, restore, observed)
    step = _towards_desired(assignment, observed)
    uid = to_take(assignment, observed)
    return step if uid is None else _taking(uid, step, assignment, observed)


def _taking(uid: str, step: Step, assignment: Assignment, observed: Observed) -> Step:
    """A snapshot that is due: before the engine's work on a stopped container, which may take long, or fail."""
    container = observed.container
    if isinstance(step, Rest):
        return Take(uid, container, step, _only_source(assignment, observed))
    if not container or not isinstance(step, Terminate | Commit | Record | Prune):
        return step
    files, excluded = observed.files, assignment.spec.snapshot_policy.excluded_paths
    # While another is taken, its file may still get the name of this one.
    if files and _is_copied(observed, container) and set(files.excluded) <= set(excluded) and not observed.taking:
        return Take(uid, container, None)
    if isinstance(step, Commit) and not container.files:  # it cannot be taken, and says why
        pending = Rest(SessionState.STOPPED, reason=SNAPSHOT_PENDING, message="taking its snapshot")
        return Take(uid, container, pending)
    return step


def _only_source(assignment: Assignment, observed: Observed) -> SnapshotSource | None:
    """What a session that has not run here is to be made from: a snapshot of it is the same; None if it has files."""
    has_files = observed.container or observed.files or observed.last_run or observed.saved or assignment.snapshot
    return None if has_files else assignment.source


def _revert(assignment: Assignment, restore: SnapshotRestore, observed: Observed) -> Step:
    container = observed.container
    match container.status if container else None:
        case Status.REMOVING:
            return Wait()
        case Status.PAUSED if container:
            return Unpause(container)
        case Status.RUNNING if container and not (container.held and saves_first(restore, observed)):
            return Terminate(container)
        case _:
            if saves_first(restore, observed):
                preparing = Rest(SessionState.PREPARING)
                return Take(restore.previous, container, preparing, _only_source(assignment, observed))
            return Revert(restore, container)


def _towards_desired(assignment: Assignment, observed: Observed) -> Step:  # noqa: PLR0911 — a table
    container = observed.container
    if container is None:
        gone = Ended("its container was removed from Docker while it was paused")
        return gone if assignment.desired is DesiredState.PAUSED else _without_container(assignment, observed)
    match container.status:
        case Status.REMOVING:
            return Wait()
        case Status.PAUSED:
            paused = assignment.desired is DesiredState.PAUSED
            return _live(assignment, observed, container, SessionState.PAUSED) if paused else Unpause(container)
        case Status.RUNNING:
            if assignment.desired is DesiredState.STOPPED:
                return _stop(observed, container)
            if container.held and isinstance(step := _at_rest(assignment, observed, container), Start | Copy):
                return step
            return Terminate(container) if container.ending else _running(assignment, observed, container)
        case Status.DEAD:
            return _bury(assignment, observed, container)
        case _:
            return _at_rest(assignment, observed, container)


def source_of(assignment: Assignment, saved: tuple[SavedImage, ...]) -> str:
    """Reference of the image to make the container from: the latest snapshot if there is one, else the spec's image."""
    newest = Observed(saved=saved).newest
    if newest and (assignment.snapshot is None or age_of(newest.snapshot) >= age_of(assignment.snapshot)):
        return newest.snapshot.image
    return assignment.snapshot.image if assignment.snapshot else assignment.spec.image


def _stop(observed: Observed, container: Container) -> Step:
    """`docker container prune` takes what does not run: a container that is held ends once its files are copied."""
    copies = container.held and container.files and not _is_copied(observed, container)
    return Copy(container) if copies else Terminate(container)


def _running(assignment: Assignment, observed: Observed, container: Container) -> Step:
    if to := attachment_at_once(assignment, container.attachment):
        return Move(container, to)
    if assignment.desired is DesiredState.PAUSED and not observed.cannot_pause:
        return Pause(container)
    return _live(assignment, observed, container, SessionState.RUNNING)


def _live(assignment: Assignment, observed: Observed, container: Container, state: SessionState) -> Step:
    if (to := _new_limits(assignment, observed, container)) is None:
        if observed.cannot_pause:
            return Rest(state, container.address, container, PAUSE_FAILED, observed.cannot_pause)
        if gone := _gone_gpus(assignment, observed):
            return Rest(state, container.address, container, GPU, f"{gone}; stop and start it to get another one")
        other_disk = _other_disk(assignment, observed, container)
        return Rest(state, container.address, container, DISK_LIMIT if other_disk else "", other_disk)
    if observed.refused and observed.refused[0] == to:
        return Rest(state, container.address, container, RESIZE_REFUSED, observed.refused[1])
    return Resize(container, to)


def _new_limits(assignment: Assignment, observed: Observed, container: Container) -> Limits | None:
    if container.limits is None:
        return None
    return assignment.spec.limits.on(observed.machine).differing(container.limits.on(observed.machine))


def _at_rest(assignment: Assignment, observed: Observed, container: Container) -> Step:
    if assignment.desired is DesiredState.STOPPED:
        return _keep(assignment, observed, container)
    if assignment.desired is DesiredState.PAUSED:
        return Ended("its container ended while it was paused; its files are kept")
    return Ended(observed.stays_down) if observed.stays_down else _start(assignment, observed, container)


def _without_container(assignment: Assignment, observed: Observed) -> Step:  # noqa: PLR0911 — a table
    last = observed.last_run if observed.last_run and observed.last_run.is_latest(assignment.snapshot) else None
    if last and not (observed.files and keeps(observed.files.run, last.run)) and not observed.holding(last.run):
        if same := next((one for one in observed.snapshots.values() if keeps(one.run, last.run)), None):
            return Adopt(same.uid, last.run)
        return Wait() if observed.awaited else _refuse_older(assignment, observed)
    if assignment.desired is DesiredState.STOPPED:
        return _tidy(assignment, observed)
    if last and observed.files and keeps(observed.files.run, last.run):
        return Restore(observed.files)
    if assignment.source and last is None and assignment.snapshot is None and not observed.saved:
        return _clone(assignment, assignment.source, observed)
    if gone := _gone_gpus(assignment, observed):
        return Refuse(GPU, f"{gone}; start the session again to get another one")
    if observed.source:
        return Create(observed.source)
    reference = source_of(assignment, observed.saved)
    if assignment.snapshot and reference == assignment.snapshot.image:
        # Never fall back to the plain image: the owner would see no files, and the next stop would commit that state.
        return Refuse(
            "snapshot",
            f"the snapshot {reference} is not on this machine any more; "
            "load it again (docker load) and start the session, or delete the session",
        )
    return Fetch(reference)


def _clone(assignment: Assignment, source: SnapshotSource, observed: Observed) -> Clone | Refuse | Wait:
    """Never from the plain image: the owner would see a session without the files that were cloned."""
    if source.uid in observed.snapshots:
        return Clone(source)
    if observed.awaited:
        return Wait()
    moved = "moved with is not on this machine any more; restore another one (netvps snapshot restore NAME SNAPSHOT)"
    cloned = "was cloned from is not on this machine any more; delete it, and clone again"
    missing = moved if source.session == assignment.session_uid else cloned
    return Refuse("snapshot", f"the snapshot that it {missing}", retryable=True, lost=source.uid)


def _refuse_older(assignment: Assignment, observed: Observed) -> Refuse:
    """Never start from an older state or from the plain image without the owner's decision."""
    older = observed.newest
    back = (
        f"to go back to its snapshot of {older.snapshot.create_time:%Y-%m-%d %H:%M:%S} UTC, remove last_runs/"
        f"{assignment.session_uid}.json from the runner's state folder and start it"
        if older
        else "delete the session"
    )
    return Refuse(
        "container",
        "its container is gone from Docker (docker container prune?), and there is no complete copy of the files of "
        f"its last run: {back}",
        retryable=True,
    )


def _start(assignment: Assignment, observed: Observed, container: Container) -> Step:
    if gone := _gone_gpus(assignment, observed):
        return Refuse(GPU, f"{gone}; start the session again to get another one")
    if step := _made_again(assignment, observed, container):
        return step
    wanted, limits = attachment_of(assignment), _new_limits(assignment, observed, container)
    if container.attachment not in {wanted, None}:
        return Move(container, wanted)
    if limits and not (observed.refused and observed.refused[0] == limits):
        return Resize(container, limits)
    return Start(container)


def why_made_again(assignment: Assignment, container: Container, *, lxcfs: bool) -> str:
    """Why a stopped container is made again before its next start; '' if it is not. `lxcfs` is on its machine."""
    if container.gpus != assignment.gpus:
        return "its container was made with other GPUs"
    if container.lxcfs and not lxcfs:
        return "lxcfs, whose files its container mounts, is not on its machine any more"
    return "its disk limit has changed" if container.disk_bytes != assignment.spec.disk_bytes else ""


def _made_again(assignment: Assignment, observed: Observed, container: Container) -> Step | None:
    """What makes the container again, with all its files, if it cannot start, or not as its owner wants it.

    One of another layout only where that costs nothing: it is as good as a new one.
    """
    why = why_made_again(assignment, container, lxcfs=observed.lxcfs)
    copied = observed.files is not None and keeps(observed.files.run, container.run)
    if observed.files and copied and (why or observed.layout not in {"", container.layout}):
        return Restore(observed.files, container)
    if why and container.files and not observed.cannot_make:
        return Copy(container)
    if container.gpus != assignment.gpus or (container.lxcfs and not observed.lxcfs):  # it must not start, or cannot
        hint = observed.cannot_make or f"its files cannot be copied here, which needs {_NEEDED}"
        return Refuse("container", f"{why}, so it has to be made again: {hint}")
    return None


def _other_disk(assignment: Assignment, observed: Observed, container: Container) -> str:
    """When the session's limit of its disk holds, where its container has another one; '' where it has that."""
    wanted, has = assignment.spec.disk_bytes, container.disk_bytes
    if wanted == has:
        return ""
    if container.files and not observed.cannot_make:
        return f"{_disk_words(wanted)} from its next start on; until then it has {_disk_words(has)}"
    why = observed.cannot_make or f"its files cannot be copied here, which needs {_NEEDED}"
    return (
        f"it keeps {_disk_words(has)}, and does not get {_disk_words(wanted)}: its container cannot be made again, "
        f"because {why}; create a session with that limit, and copy its files there"
    )


def _disk_words(size: int) -> str:
    return f"a disk of {bytes_words(size)}" if size else "no limit of its disk"


def _gone_gpus(assignment: Assignment, observed: Observed) -> str:
    """Which of the session's GPUs its machine does not have any more; '' for none."""
    gone = [gpu for gpu in assignment.gpus if observed.gpus is not None and gpu not in observed.gpus]
    return f"{', '.join(gone)} is gone from its machine" if gone else ""


def _keep(assignment: Assignment, observed: Observed, container: Container) -> Step:
    if container.started is None and not container.restored:
        return Rest(SessionState.STOPPED)  # it never ran, so its content is that of its image
    if container.files and not _is_copied(observed, container):
        return Copy(container)
    held = observed.holding(container.run)
    if held is None:
        return Commit(container, flatten=container.layers >= FLATTEN_NOW)
    if not _is_recorded(assignment, held):
        return Record(held.snapshot, held.run)
    # The image below the container is kept, too: the next snapshot is that image plus one layer.
    older = tuple(image for image in observed.older_than(held.snapshot) if image.snapshot.digest != container.image)
    if older:
        return Prune(older)
    other_disk = _other_disk(assignment, observed, container)
    return Rest(SessionState.STOPPED, reason=DISK_LIMIT if other_disk else "", message=other_disk)


def _is_copied(observed: Observed, container: Container) -> bool:
    """Whether the files are in the runner's folder, with the image below them."""
    files = observed.files
    return files is not None and keeps(files.run, container.run) and files.image_saved


def _bury(assignment: Assignment, observed: Observed, container: Container) -> Step:
    held = observed.holding(container.run)
    if held and _is_recorded(assignment, held):
        return Remove(container, held)
    return Refuse(
        "container",
        f"Docker gave up removing container {container.id[:12]} half-way, and its files are in no snapshot; "
        "restart Docker, save what you need from it, and delete the session",
    )


def _tidy(assignment: Assignment, observed: Observed) -> Step:
    newest = observed.newest
    if newest is None:
        return Rest(SessionState.STOPPED)
    if assignment.snapshot is None or age_of(newest.snapshot) > age_of(assignment.snapshot):
        # The snapshot was flattened, or its container was removed outside netvps; the snapshot is valid in both cases.
        return Record(replace(newest.snapshot, generation=assignment.generation), newest.run)
    older = observed.older_than(assignment.snapshot)
    if older and len(older) < len(observed.saved):
        return Prune(older)
    if newest.snapshot.layers >= FLATTEN_FROM and _is_recorded(assignment, newest):
        return Flatten(newest)
    return Rest(SessionState.STOPPED)


def _is_recorded(assignment: Assignment, held: SavedImage) -> bool:
    return assignment.snapshot is not None and assignment.snapshot.digest == held.snapshot.digest
