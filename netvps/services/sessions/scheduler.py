"""Schedules pending sessions on runners, within the transaction of the event that triggered it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.image.places import ImagePlaces, runs_on
from netvps.domain.runner.placement import Use, Verdict, choose, gpus_for, why_none, why_not
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.session.lifecycle import ADDRESSES_EXHAUSTED, place, wait
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.snapshot.orders import fail_unplaced
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotState
from netvps.domain.task.task import PLACED, Task
from netvps.errors import Exhausted
from netvps.services.network.addresses import Addresses, put_addressed
from netvps.services.sessions.gpus import gpu_holders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from netvps.domain.runner.placement import Claimant
    from netvps.domain.scheduling.address import AddressReservation
    from netvps.services.images.holdings import ImageHoldings
    from netvps.services.ports import Reader, Transaction

MAX_VERDICTS: Final = 1000
_NAMED: Final = 3
"""Maximum number of runners named in a message."""
_CLAIMING: Final = (DesiredState.RUNNING, DesiredState.PAUSED)
"""A paused session counts, because it may run again at any moment."""


async def placed(
    reader: Reader,
    session: Session,
    now: datetime,
    held: ImageHoldings | None = None,
    reserved: AddressReservation | None = None,
) -> Session:
    """The session placed on the best runner, or, if there is none, with a message why it waits.

    With a reserved address it is placed on that runner. Raises Exhausted if it cannot be.
    """
    online = [one for one in await _online(reader) if reserved is None or one.uid == reserved.runner]
    uses = await uses_of_runners(reader, online, [session])
    able = await _able(reader, session, online, now)
    found = await _placed(session, able, uses, Addresses(reader, reserved), now, images=_places(session, held))
    if reserved is not None and found.overlay_address != reserved.address:
        why = found.message or "its network is none"
        raise Exhausted(f"the session cannot have {reserved.address} of runner {reserved.runner_name}: {why}")
    return found


async def verdicts(reader: Reader, session: Session, held: ImageHoldings | None = None) -> tuple[Verdict, ...]:
    """Why each runner cannot have a session, by name of the runner: of MAX_VERDICTS at most."""
    runners = await reader.page(Runner, "", MAX_VERDICTS)
    uses = await uses_of_runners(reader, runners, [session])
    places = _places(session, held)
    return tuple(Verdict(one.name, why_not(session, one, uses.get(one.uid, Use()), places)) for one in runners)


async def place_waiting(tx: Transaction, now: datetime, held: ImageHoldings | None = None) -> None:
    """Places all waiting sessions, the longest waiting first; without `held`, only those that wait for a snapshot.

    `held` says which runners have which images.
    """
    found = await tx.find(Session, runner="", desired=DesiredState.RUNNING)
    waiting = [session for session in found if held is not None or session.awaits]
    if not waiting:
        return
    runners, addresses = await _online(tx), Addresses(tx)
    uses = await uses_of_runners(tx, runners, waiting)
    for session in sorted(waiting, key=lambda s: s.uid):
        if session.state is SessionState.FAILED:
            continue
        able = await _able(tx, session, runners, now)
        after = await _placed(session, able, uses, addresses, now, images=_places(session, held))
        if after is session:
            continue
        await put_addressed(tx, after)
        if after.runner:
            uses[after.runner] = uses.get(after.runner, Use()).with_session(after)


async def _able(reader: Reader, session: Session, online: list[Runner], now: datetime) -> list[Runner] | Session:
    """The runners that can make a session; else the session, with the reason why it waits or failed."""
    if not session.awaits:
        return online
    snapshot = await reader.get(Snapshot, session.awaits)
    if snapshot is None or snapshot.state is not SnapshotState.READY:
        return _without_snapshot(session, snapshot, now)
    held_by = {holder.runner: holder.name for holder in snapshot.counted}
    holding = [runner for runner in online if runner.uid in held_by]
    made_on = await architecture_of(reader, snapshot.session)
    able = [runner for runner in holding if runs_on(runner.capacity.architecture, made_on)]
    if able:
        return able
    why = f"waiting for a runner with its snapshot {snapshot.full_name}: {', '.join(held_by.values())}"
    if holding:
        have = ", ".join(sorted({runner.capacity.architecture for runner in holding}))
        why = (
            f"its snapshot {snapshot.full_name} is of {made_on}, and the runners that are online and hold it are "
            f"{have}: start one of {made_on} that holds it, or ask for more copies "
            f"(netvps snapshot copies NAME SNAPSHOT 2)"
        )
    return wait(session, "", why, now)


async def architecture_of(reader: Reader, session_uid: str) -> str:
    """The architecture of the machine that a session is on, and its files are for; '' if it is not known."""
    session = await reader.get(Session, session_uid)
    runner = await reader.get(Runner, session.runner) if session and session.runner else None
    return runner.capacity.architecture if runner else ""


def _without_snapshot(session: Session, snapshot: Snapshot | None, now: datetime) -> Session:
    """A clone whose source snapshot is not READY: it waits, or failed."""
    named = session.source.name if session.source else ""
    if snapshot is not None and snapshot.state is SnapshotState.CREATING:
        return wait(session, "", f"waiting for the snapshot {named}", now)
    why = f"failed: {snapshot.message}" if snapshot and snapshot.state is SnapshotState.FAILED else "is gone"
    message = f"the snapshot {named}, which it is cloned from, {why}; remove it and clone again"
    return fail_unplaced(session, "snapshot", message, now)


def _places(session: Session, held: ImageHoldings | None) -> ImagePlaces:
    """Where the image of a session is; that of a clone is with its snapshot."""
    return held.places(session.spec.image) if held and not session.awaits else ImagePlaces()


async def _online(reader: Reader) -> list[Runner]:
    return await reader.find(Runner, state=RunnerState.ONLINE)


async def uses_of_runners(reader: Reader, online: Sequence[Runner], waiting: Sequence[Claimant]) -> dict[str, Use]:
    """Resources in use by uid of the runner, as far as the waiting sessions or tasks ask for them.

    Aggregated by the store, because there may be 100,000 sessions.
    """
    totals = await reader.tally(Session, "runner", "cpu_claim", "memory_claim", desired=_CLAIMING)
    uses = {runner: Use(sessions, cpus, memory) for runner, (sessions, cpus, memory) in totals.items()}
    tasks = await reader.tally(Task, "runner", "cpu_claim", "memory_claim", state=PLACED)
    for runner, (count, cpus, memory) in tasks.items():
        use = uses.get(runner, Use())
        uses[runner] = Use(use.sessions + count, use.cpu_claims + cpus, use.memory_claims + memory)
    if any(session.spec.disk_bytes for session in waiting):
        for runner, (_, disk) in (await reader.tally(Session, "runner", "disk_claim")).items():
            uses[runner] = replace(uses.get(runner, Use()), disk_claims=disk)
    if any(session.spec.gpu_count for session in waiting):
        for runner, gpus in (await gpu_holders(reader, online)).items():
            uses[runner] = replace(uses.get(runner, Use()), gpus=gpus)
    return uses


async def _placed(
    session: Session,
    able: list[Runner] | Session,
    uses: Mapping[str, Use],
    addresses: Addresses,
    now: datetime,
    *,
    images: ImagePlaces,
) -> Session:
    """The session on the best of the runners that are able to make it; or as `_able` says why it waits."""
    if isinstance(able, Session):
        return able
    online, full = able, dict[str, str]()
    while runner := choose(session, (runner for runner in online if runner.uid not in full), uses, images):
        address = await addresses.pick(session.spec, runner)
        if address is not None:
            gpus = gpus_for(session, runner, uses.get(runner.uid, Use())) or ()
            return place(session, runner, now, address, gpus)
        full[runner.uid] = runner.name
    if not full:
        return wait(session, "", why_none(session.spec, online, uses, session.owner, images), now)
    names = ", ".join(sorted(full.values())[:_NAMED]) + (
        f" and {len(full) - _NAMED} more" if len(full) > _NAMED else ""
    )
    message = f"all addresses on the overlay are taken ({names}): it starts when a session there is removed"
    return wait(session, ADDRESSES_EXHAUSTED, message, now)
