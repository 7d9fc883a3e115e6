"""Advances a move by one step, within a transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.image.places import runs_on
from netvps.domain.moves.move import Move, MoveStage
from netvps.domain.moves.steps import (
    CopyAll,
    Fail,
    Stop,
    Switch,
    Take,
    Wait,
    failing,
    from_stop,
    next_step,
    stopping,
    switched,
)
from netvps.domain.runner.placement import Use, choose, gpus_for, is_able, why_not
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.snapshot.copies import Copy
from netvps.domain.snapshot.snapshot import SnapshotCause, SnapshotDraft
from netvps.errors import NetvpsError
from netvps.services.copies.orders import order_copy
from netvps.services.moves.evictions import evict, left_runners
from netvps.services.network.addresses import Addresses, put_addressed
from netvps.services.sessions.gpus import gpu_holders
from netvps.services.sessions.scheduler import architecture_of, uses_of_runners
from netvps.services.snapshots.take import take_snapshot
from netvps.services.snapshots.use import snapshots_of

_NAMED: Final = 3
"""Maximum number of runners named in a message."""

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.session.session import Session
    from netvps.domain.snapshot.snapshot import Snapshot
    from netvps.services.ports import Reader, Transaction


async def advance(tx: Transaction, session: Session, move: Move, now: datetime, *, new_uid: str, copies: int) -> None:
    """Does the next step of a session's open move; writes nothing if there is none yet.

    `copies` is the default number of copies of a snapshot.
    """
    target = await find_target(tx, session, move)
    if isinstance(target, str):
        await _say(tx, session, move, target)
        return
    snapshots = await snapshots_of(tx, session.uid)
    move = from_stop(session, move.to(target), snapshots)
    match next_step(session, move, snapshots):
        case Stop():
            await tx.put(stopping(session, move, now))
        case Take():
            await _take(tx, session, move, now, new_uid=new_uid, copies=copies)
        case CopyAll(missing):
            await _copy(tx, session, move, target, missing=missing, now=now)
        case Switch():
            await switch(tx, session, move, target, now, complete=True)
        case Wait(message):
            await _say(tx, session, move, message)
        case Fail(message):
            await tx.put(failing(session, move, message, now))


async def switch(
    tx: Transaction, session: Session, move: Move, target: Runner, now: datetime, *, complete: bool
) -> Session:
    """Places a session, with its address, on a runner that holds its snapshots, and evicts it from the other one."""
    given = await Addresses(tx).keep(session, target)
    if given is None:
        await _say(tx, session, move, f"all addresses of runner {target.name} on the overlay are taken")
        return session
    gpus: tuple[str, ...] | None = ()
    if move.resume:  # a stopped session gets its GPUs when it starts
        held = (await gpu_holders(tx, [target])).get(target.uid, {})
        gpus = gpus_for(session, target, Use(gpus=held))
    if gpus is None:
        await _say(tx, session, move, f"too few GPUs of runner {target.name} are free")
        return session
    move = replace(move, message=given.why)
    moved = switched(session, move, target, given.overlay, now, gpus=gpus, local_address=given.local)
    for copy in await tx.find(Copy, session=session.uid, runner=target.uid):
        await tx.delete(copy)  # its runner's snapshots follow the session's orders from now on
    await evict(tx, session, moved.epoch, now, complete=complete)
    return await put_addressed(tx, moved)


async def find_target(reader: Reader, session: Session, move: Move) -> Runner | str:
    """The runner that a session goes to; or why there is none, for people."""
    runners = [runner for runner in await reader.find(Runner) if runner.uid != move.origin]
    left = await left_runners(reader, session.uid)
    machine = await architecture_of(reader, session.uid)
    able = [runner for runner in runners if runner.can_hold_copies and is_able(runner) and runner.uid not in left]
    able = [runner for runner in able if runs_on(runner.capacity.architecture, machine)]
    chosen = next((runner for runner in able if runner.uid == move.target), None)
    if chosen is not None:
        return chosen
    if move.fixed:
        why = "it is offline, cordoned, too old, of another architecture, or still erasing it"
        return f"runner {move.target_name} cannot take it now: {why}"
    uses = await uses_of_runners(reader, able, [session])
    best = choose(session, able, uses)
    if best is not None:
        return best
    if not runners:
        return "there is no other runner: add one (netvps runner join-token)"
    reasons = [(runner.name, why_not(session, runner, uses.get(runner.uid, Use()))) for runner in able]
    reasons += [(runner.name, _why_unable(runner, left, machine)) for runner in runners if runner not in able]
    return f"no other runner can take it ({', '.join(f'{name}: {why}' for name, why in reasons[:_NAMED])})"


def _why_unable(runner: Runner, left: frozenset[str], machine: str) -> str:
    if runner.state is not RunnerState.ONLINE:
        return "offline"
    if runner.cordoned:
        return "cordoned"
    if runner.uid in left:
        return "it was there before, and is not erased there yet"
    if not runs_on(runner.capacity.architecture, machine):
        return f"it is {runner.capacity.architecture}, and the session is of {machine}"
    return runner.engine_problem or ("runs no sessions" if runner.no_sessions else f"has version {runner.version}")


async def _say(tx: Transaction, session: Session, move: Move, message: str) -> None:
    said = move.saying(message)
    if said != session.move:
        await tx.put(replace(session, move=said))


async def _take(tx: Transaction, session: Session, move: Move, now: datetime, *, new_uid: str, copies: int) -> None:
    draft = SnapshotDraft(description=f"for the move to {move.target_name}")
    try:
        ordered, snapshot = await take_snapshot(
            tx, session, draft, SnapshotCause.MOVE, uid=new_uid, now=now, copies=copies
        )
    except NetvpsError as error:
        await tx.put(failing(session, move, error.message, now))
        return
    await tx.put(snapshot)
    taking = replace(move, stage=MoveStage.COPYING, snapshot=snapshot.uid, generation=ordered.generation, message="")
    await tx.put(replace(ordered, move=taking))


async def _copy(
    tx: Transaction, session: Session, move: Move, target: Runner, *, missing: tuple[Snapshot, ...], now: datetime
) -> None:
    urgent = move.resume or not move.drain  # its session is down, or its owner waits
    for snapshot in missing:
        copy = await tx.get(Copy, f"{snapshot.uid}.{target.uid}")
        if copy is None:
            await order_copy(tx, snapshot, target, now, urgent=urgent)
        elif urgent and not (copy.urgent or copy.held or copy.drop):
            await tx.put(replace(copy, urgent=True))
    changed = replace(move, stage=MoveStage.COPYING, message="")
    if changed != session.move:
        await tx.put(replace(session, move=changed))
