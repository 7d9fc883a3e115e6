"""What a move does next, as a pure function of the session and its snapshots."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from netvps.domain.moves.move import Move, MoveStage
from netvps.domain.session.lifecycle import place
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotState

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.runner.runner import Runner

_RUNS = frozenset({DesiredState.RUNNING, DesiredState.PAUSED})


@dataclass(frozen=True, slots=True)
class Stop:
    """Request the stop of the session."""


@dataclass(frozen=True, slots=True)
class Take:
    """Order a snapshot of the stopped session."""


@dataclass(frozen=True, slots=True)
class CopyAll:
    """Order copies of these snapshots on the target, where they are not ordered yet."""

    snapshots: tuple[Snapshot, ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """Place the session on the target: all receipts are recorded."""

    base: Snapshot


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet."""

    message: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The session stays on its runner."""

    message: str


Step = Stop | Take | CopyAll | Switch | Wait | Fail


def next_step(session: Session, move: Move, snapshots: Collection[Snapshot]) -> Step:  # noqa: PLR0911 — a table
    """The next step of an open move that has a target; `snapshots` are all of the session."""
    if session.desired is DesiredState.DELETED:
        return Fail("it is being deleted")
    if session.pending_restore:
        return Wait("a snapshot is being restored in it")
    if session.desired in _RUNS:
        return Fail("it was started meanwhile") if move.stopped else _stop(session)
    if session.state is SessionState.FAILED:
        return Fail(f"its files could not be saved: {session.message}")
    if session.state is not SessionState.STOPPED or session.observed_generation != session.generation:
        return Wait("it is being stopped")
    if not move.snapshot or move.generation != session.generation:
        return Take()
    base = next((one for one in snapshots if one.uid == move.snapshot), None)
    if base is None or base.state in {SnapshotState.FAILED, SnapshotState.DELETING}:
        return Fail(f"there is no snapshot of it: {base.message if base else 'it was deleted'}")
    if any(one.state is SnapshotState.CREATING for one in snapshots):
        return Wait("its files are being copied on its runner")
    ready = [one for one in snapshots if one.state is SnapshotState.READY]
    missing = tuple(one for one in ready if move.target not in {holder.runner for holder in one.usable})
    return CopyAll(missing) if missing else Switch(base)


def from_stop(session: Session, move: Move, snapshots: Collection[Snapshot]) -> Move:
    """The move with the snapshot of the stop that its session rests in, if that is its whole present state.

    Otherwise one is taken: also where something is missing in it, as its runner decides what should be, and where the
    target has it already: the old runner soon erases its files, so the target has to read its copy again before.
    """
    image, rests = session.snapshot, session.state is SessionState.STOPPED and not session.reason
    if move.snapshot or image is None or not rests:
        return move
    if not image.generation == session.observed_generation == session.generation:
        return move
    same = next((one for one in snapshots if one.uid == image.uid), None)
    if same is None or same.state is not SnapshotState.READY or same.warnings:
        return move
    if move.target in {holder.runner for holder in same.holders}:
        return move
    return replace(move, snapshot=image.uid, generation=session.generation)


def _stop(session: Session) -> Step:
    if session.state is SessionState.FAILED:
        return Fail(f"it failed ({session.message}): start it, or stop it, then move it")
    if session.state in {SessionState.RUNNING, SessionState.PAUSED}:
        return Stop()
    return Wait(f"it is {session.state}, and is moved once it runs")


def stopping(session: Session, move: Move, now: datetime) -> Session:
    """The session to be stopped for its move."""
    by = Author(move.by, ChangeCause.DRAIN if move.drain else ChangeCause.PERSON)
    return replace(
        session,
        desired=DesiredState.STOPPED,
        generation=session.generation + 1,
        desired_by=by,
        stopped_by=by,
        move=replace(move, stage=MoveStage.STOPPING, resume=True, stopped=True, message=""),
        update_time=now,
    )


def failing(session: Session, move: Move, message: str, now: datetime) -> Session:
    """The session after its move failed: it runs again where it is, if it was stopped for that."""
    ended = replace(session, move=replace(move, stage=MoveStage.FAILED, message=message), update_time=now)
    if not (move.stopped and move.resume and session.desired is DesiredState.STOPPED):
        return ended
    by = Author(move.by, ChangeCause.DRAIN if move.drain else ChangeCause.PERSON)
    return replace(ended, desired=DesiredState.RUNNING, generation=session.generation + 1, desired_by=by)


def switched(
    session: Session,
    move: Move,
    target: Runner,
    address: str,
    now: datetime,
    *,
    gpus: tuple[str, ...] = (),
    local_address: str = "",
) -> Session:
    """The session placed on its new runner, in a new epoch, to be made there from the snapshot of its move."""
    desired = DesiredState.RUNNING if move.resume else session.desired
    return replace(
        place(session, target, now, address, gpus, local_address=local_address),
        desired=DesiredState.RUNNING if desired is DesiredState.PAUSED else desired,
        generation=session.generation + 1,
        snapshot=None,  # an image in the Docker of the old runner
        snapshot_orders=tuple(order for order in session.snapshot_orders if order.delete),
        limits_before=None,
        move=replace(move.to(target), stage=MoveStage.ARRIVING, base="", awaited=False),
    )


def from_here(session: Session, move: Move) -> Move:
    """A new move, with what its session was made from where it is; it begins with that if it has not run there."""
    base = session.made_from
    if session.snapshot is not None or base is None or base.session != session.uid:
        return move
    begun = session.arrival is not None
    begins = replace(move, base=base.uid, awaited=begun)
    return replace(begins, snapshot=base.uid, generation=session.generation) if begun else begins


def arrived(session: Session, now: datetime) -> Session:
    """The session after it has run on its runner. A move from there that is open needs a new snapshot."""
    move = session.move
    if session.arrival is None or move is None:
        return session
    if move.stage is MoveStage.ARRIVING:
        after = replace(move, stage=MoveStage.DONE)
    else:
        after = replace(move, awaited=False, snapshot="" if move.is_open else move.snapshot)
    return replace(session, move=after, update_time=now)
