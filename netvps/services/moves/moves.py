"""Use cases of moves, and the loop that advances them. Each step is one transaction."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.access.sharing import Right
from netvps.domain.checks import shown
from netvps.domain.image.places import runs_on
from netvps.domain.moves.eviction import Eviction, EvictionState
from netvps.domain.moves.move import Move, MoveStage
from netvps.domain.moves.steps import from_here
from netvps.domain.names import SessionName
from netvps.domain.runner.placement import admits, fits, is_able
from netvps.domain.runner.runner import COPIES, Runner, RunnerState
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.snapshot.copies import Copy
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotState
from netvps.errors import Exhausted, NetvpsError, Unavailable, WrongState
from netvps.services.feed import Topic
from netvps.services.idempotency import Idempotency, recall
from netvps.services.images.holdings import ImageHoldings
from netvps.services.moves.advance import advance, find_target, switch
from netvps.services.moves.evictions import left_runners, release, release_all
from netvps.services.sessions.removal import runner_named
from netvps.services.sessions.scheduler import architecture_of, place_waiting
from netvps.services.sessions.scope import changeable_session, find_session
from netvps.services.snapshots.use import snapshots_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.services.copies.copies import Copies
    from netvps.services.feed import Feed, Subscription
    from netvps.services.ports import Change, Clock, Reader, Store, Transaction

INTERVAL: Final = 1.0
"""Seconds after which moves are looked at even if nothing has changed: a runner may have room by now."""
AT_ONCE: Final = 2
"""Sessions that leave a runner at the same time: each is down meanwhile, and they share its disk and network."""
_TOPICS: Final = Topic(Session.kind), Topic(Snapshot.kind), Topic(Copy.kind)
log = structlog.get_logger()


class Moves:
    """Moves sessions, and drains runners. `run` is a task of the program."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        new_uid: Callable[[], str],
        copies: Copies,
        interval: float = INTERVAL,
        *,
        images: ImageHoldings | None = None,
    ) -> None:
        """`images` says which runners have which images."""
        self._store = store
        self._clock = clock
        self._new_uid = new_uid
        self._copies = copies
        self._interval = interval
        self._images = images or ImageHoldings()

    async def move(
        self, caller: Caller, session: str, *, target: str = "", from_copy: bool = False, request_id: str = ""
    ) -> Session:
        """Requests a move to the runner named `target`, or to the best one.

        With `from_copy`, from the newest copy, as its runner is gone. Raises NotFound, WrongState, Exhausted,
        Unavailable.
        """
        name, now = SessionName.parse(session, caller.user), self._clock()
        async with self._store.write(caller.user, "session.desired") as tx:
            once = Idempotency(tx, caller, request_id, now, "MoveSession", str(name), target, from_copy)
            request = await once.earlier()
            if request is None:
                found = await changeable_session(tx, caller, name, Right.MOVE)
                runner = await _require_movable(tx, found)
                move = Move(self._new_uid(), caller.user, runner.uid, runner.name, now)
                if target:
                    chosen = await runner_named(tx, target)
                    _require_target(found, chosen, runner)
                    move = replace(move.to(chosen), fixed=True)
                if from_copy:
                    moved = await self._from_copy(tx, found, runner, move, now)
                else:
                    moved = await self._begin(tx, found, runner, move)
                await once.record(moved, str(name))
                return moved
        return (await recall(self._store, Session, request))[0]

    async def latest(self, caller: Caller, *, session: str = "", runner: str = "") -> list[Session]:
        """The session, or those of a runner that leave it or could not, with their moves, that the caller may see."""
        async with self._store.read() as reader:
            if session:
                found = [await find_session(reader, caller, SessionName.parse(session, caller.user), Right.INSPECT)]
            else:
                uid = (await runner_named(reader, runner)).uid
                where = {} if caller.sees_all else {"owner": caller.user}
                found = await reader.find(Session, runner=uid, **where)
            return [await self._shown(reader, one) for one in found if one.move is not None]

    async def drain(self, caller: Caller, name: str, request_id: str = "") -> list[Session]:
        """Requests that all sessions leave a runner, which gets no new ones. Returns them."""
        now = self._clock()
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "DrainRunner", name)
            if await once.earlier() is None:
                runner = await runner_named(tx, name)
                await tx.put(replace(runner, cordoned=True))
                for session in await tx.find(Session, runner=runner.uid):
                    if not session.moving and session.desired is not DesiredState.DELETED:
                        move = Move(self._new_uid(), caller.user, runner.uid, runner.name, now, drain=True)
                        await tx.put(replace(session, move=from_here(session, move)))
                await once.record(runner, name)
        return await self.latest(caller, runner=name)

    async def cordon(self, caller: Caller, name: str, request_id: str = "") -> None:
        """Keeps new sessions away from a runner; those that it has stay."""
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "CordonRunner", name)
            if await once.earlier() is None:
                await once.record(await tx.put(replace(await runner_named(tx, name), cordoned=True)), name)

    async def uncordon(self, caller: Caller, name: str, request_id: str = "") -> None:
        """Lets a runner have sessions again; moves of its drain that did not begin are given up."""
        now = self._clock()
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "UncordonRunner", name)
            if await once.earlier() is None:
                runner = await runner_named(tx, name)
                await tx.put(replace(runner, cordoned=False))
                for session in await tx.find(Session, runner=runner.uid, moving="open"):
                    if session.move and session.move.drain and session.move.stage is MoveStage.WAITING:
                        ended = replace(session.move, stage=MoveStage.FAILED, message="the drain was ended")
                        await tx.put(replace(session, move=ended))
                await place_waiting(tx, now, self._images)
                await once.record(runner, name)

    async def run(self, feed: Feed) -> None:
        """Advances moves until cancelled: after each change that one may wait for, and from time to time."""
        while True:
            try:
                async with feed.subscribe(*_TOPICS, match=_may_advance) as news:
                    await self._follow(news)
            except NetvpsError as error:
                log.warning("cannot advance moves; retrying", error=error.message)
            await asyncio.sleep(self._interval)

    async def _follow(self, news: Subscription) -> None:
        release = 0.0
        while True:
            await self.advance_all()
            if (now := asyncio.get_running_loop().time()) >= release:
                release = now + self._interval
                await self.release_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await anext(news)
            while len(news):
                await anext(news)

    async def advance_all(self) -> None:
        """Does the next step of each open move, of AT_ONCE at a time for each runner that is left."""
        async with self._store.read() as reader:
            moving = await reader.find(Session, moving="open")
        begun = Counter(one.move.origin for one in moving if one.move and one.move.stage is not MoveStage.WAITING)
        for session in sorted(moving, key=lambda one: one.move.create_time if one.move else one.create_time):
            move = session.move
            if move is None or (move.stage is MoveStage.WAITING and begun[move.origin] >= AT_ONCE):
                continue
            async with self._store.write("moves", "moves.advance") as tx:
                latest = await tx.get(Session, session.uid)
                if latest is None or latest.move is None or not latest.move.is_open:
                    continue
                await advance(
                    tx, latest, latest.move, self._clock(), new_uid=self._new_uid(), copies=self._copies.default
                )
                after = await tx.get(Session, session.uid)
            if move.stage is MoveStage.WAITING and after and after.move and after.move.stage is not MoveStage.WAITING:
                begun[move.origin] += 1

    async def release_all(self) -> None:
        """Lets runners erase sessions that left them with everything, and are well where they went."""
        async with self._store.read() as reader:
            fenced = await reader.find(Eviction, state=EvictionState.FENCED)
        for eviction in fenced:
            async with self._store.write("moves") as tx:
                latest = await tx.get(Eviction, eviction.key)
                session = await tx.get(Session, eviction.session)
                if latest is None or latest.state is not EvictionState.FENCED:
                    continue
                if session is None:
                    await release_all(tx, eviction.session)
                elif latest.complete and _is_well(session):
                    await release(tx, latest, self._clock())

    async def _begin(self, tx: Transaction, session: Session, runner: Runner, move: Move) -> Session:
        if runner.state is RunnerState.OFFLINE:
            raise Unavailable(
                f"the runner {runner.name} of session {session.full_name} is offline, so what it wrote last cannot be "
                "copied: wait until that returns, or go on from its newest copy, with netvps move "
                f"{session.full_name} --from-copy"
            )
        if COPIES not in runner.capabilities:
            raise WrongState(
                f"the runner {runner.name} of session {session.full_name} cannot send snapshots, with version "
                f"{runner.version or 'unknown'}: upgrade it"
            )
        found = await find_target(tx, session, move)
        if isinstance(found, str):
            raise Exhausted(f"session {session.full_name} cannot move: {found}", reason="NO_RUNNER")
        return await tx.put(replace(session, move=from_here(session, move.to(found))))

    async def _from_copy(self, tx: Transaction, session: Session, runner: Runner, move: Move, now: datetime) -> Session:
        if runner.state is RunnerState.ONLINE:
            raise WrongState(
                f"the runner {runner.name} of session {session.full_name} is online: move it without --from-copy, so "
                "that nothing of it is left behind"
            )
        base, target = await _newest_copy(tx, session, move)
        move = replace(move, snapshot=base.uid, resume=session.desired in {DesiredState.RUNNING, DesiredState.PAUSED})
        return await switch(tx, session, move, target, now, complete=False)

    async def _shown(self, reader: Reader, session: Session) -> Session:
        """The session with the progress of its copies as the message of its move."""
        move = session.move
        if move is None or move.stage is not MoveStage.COPYING:
            return session
        words = await self._copies.words(reader, session.uid, move.target)
        return replace(session, move=move.saying(words)) if words else session


async def _require_movable(reader: Reader, session: Session) -> Runner:
    name = session.full_name
    if session.desired is DesiredState.DELETED:
        raise WrongState(f"session {name} is being deleted: it cannot be moved any more")
    if session.moving and session.move:
        raise WrongState(f"session {name} is being moved already, to {session.move.target_name or 'another runner'}")
    if session.pending_restore:
        raise WrongState(f"session {name} is being restored: wait until that is done, then move it")
    runner = await reader.get(Runner, session.runner) if session.runner else None
    if runner is None:
        raise WrongState(f"session {name} is on no runner yet: there is nothing to move")
    return runner


def _require_target(session: Session, target: Runner, origin: Runner) -> None:
    name = session.full_name
    if target.uid == origin.uid:
        raise WrongState(f"session {name} is on runner {target.name} already")
    if target.no_sessions or not target.may_hold_copies:
        raise WrongState(f"runner {target.name} takes no moved sessions: it runs none, or has an older version")
    if not admits(session.spec, target):
        raise WrongState(f"session {name} is for runners that match {shown(session.spec.runner_filter)}, and "
                         f"{target.name} does not: choose another one")  # fmt: skip
    if not fits(session.spec, target):
        raise WrongState(f"session {name} does not fit on runner {target.name}: see netvps runner ls")


async def _newest_copy(reader: Reader, session: Session, move: Move) -> tuple[Snapshot, Runner]:
    """The newest snapshot that a runner which can take the session now holds, and the best such runner."""
    ready = [one for one in await snapshots_of(reader, session.uid) if one.state is SnapshotState.READY]
    left = await left_runners(reader, session.uid)
    found, made_on = await reader.find(Runner), await architecture_of(reader, session.uid)
    fitting = [runner for runner in found if runs_on(runner.capacity.architecture, made_on)]
    runners = {runner.uid: runner for runner in fitting if runner.uid not in left}
    for snapshot in sorted(ready, key=lambda one: one.uid, reverse=True):
        holders = [runners[one.runner] for one in snapshot.usable if one.runner in runners]
        able = [one for one in holders if one.can_hold_copies and is_able(one) and one.uid != move.origin]
        able = [one for one in able if fits(session.spec, one) and (not move.fixed or one.uid == move.target)]
        if able:
            return snapshot, min(able, key=lambda one: (-one.capacity.disk_free_bytes, one.name))
    where = f"runner {move.target_name} has" if move.fixed else "no runner that is online has"
    elsewhere = [one for one in ready if {holder.runner for holder in one.usable} - {move.origin}]
    also = ""
    if elsewhere:
        newest = max(elsewhere, key=lambda one: one.uid)
        held = ", ".join(sorted(one.name for one in newest.usable if one.runner != move.origin))
        more = f"netvps snapshot copies {session.full_name} {newest.id} {newest.copies + 1}"
        also = f"; there is one on {held}, and {more} makes more"
    raise WrongState(
        f"session {session.full_name} cannot go on elsewhere: {where} a verified copy of it{also}; its files are on "
        f"{move.origin_name}: start that runner",
        reason="NO_COPY",
    )


def _may_advance(change: Change) -> bool:
    """Whether a move may wait for a change: of a session that moves, of a snapshot, or of a copy that is held."""
    resource = change.resource
    if isinstance(resource, Session):
        return resource.moving == "open"
    return resource.held if isinstance(resource, Copy) else True


def _is_well(session: Session) -> bool:
    """Whether a session has run on its new runner, or rests there."""
    move = session.move
    if move is None or move.is_open:
        return True  # it is on its way from the new runner already
    at_rest = session.desired is DesiredState.STOPPED and session.state is SessionState.STOPPED
    return move.stage in {MoveStage.DONE, MoveStage.FAILED} or at_rest
