"""What programs in a session may ask for about that session, with `nv`: a lease, its stop, a snapshot, its plan.

The session is that of the agent's certificate. It acts for its owner, and on itself only.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Caller, Role
from netvps.domain.session.lifecycle import set_desired
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session
from netvps.domain.sleep import words
from netvps.domain.snapshot.snapshot import SnapshotDraft
from netvps.domain.tunnel import SelfService, SelfServiceKind
from netvps.errors import Exhausted, InvalidInput, NotFound, WrongState
from netvps.services.sessions.edits import with_runner, write_edited

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.tunnel import Activity
    from netvps.services.ports import Clock, Reader, Store
    from netvps.services.sleep.rules import IdleRules
    from netvps.services.snapshots.snapshots import Snapshots

MIN_LEASE, MAX_LEASE = 60.0, 86_400.0
"""Seconds."""
AT_ONCE: Final = 10
"""Requests of one session; after that, one every ten seconds."""
_EACH: Final = timedelta(seconds=10)
_REMEMBERED: Final = 10_000
_INSIDE: Final = "from inside"


class SelfServices:
    """Serves what agents pass on, and takes their reports for the idle rules (gateway.ports.AgentReports)."""

    def __init__(self, store: Store, clock: Clock, rules: IdleRules, snapshots: Snapshots) -> None:
        self._store = store
        self._clock = clock
        self._rules = rules
        self._snapshots = snapshots
        self._full_at: OrderedDict[str, datetime] = OrderedDict()
        """When a session may ask for AT_ONCE things again, by session."""

    def connected(self, session_uid: str) -> None:
        """An agent connected."""
        self._rules.connected(session_uid)

    def report(self, session_uid: str, activity: Activity) -> None:
        """An agent reported."""
        self._rules.report(session_uid, activity)

    def served(self, session_uid: str, streams: int) -> None:
        """The number of open HTTP connections changed."""
        self._rules.served(session_uid, streams)

    def disconnected(self, session_uid: str) -> None:
        """An agent disconnected."""
        self._rules.disconnected(session_uid)

    async def serve(self, session_uid: str, epoch: int, request: SelfService) -> str:
        """Does what is asked for; returns the answer for people.

        Raises Exhausted for too many requests or snapshots, InvalidInput, NotFound if that epoch is over, WrongState.
        """
        self._require_few(session_uid)
        match request.kind:
            case SelfServiceKind.KEEP:
                return await self._keep(session_uid, epoch, request.seconds)
            case SelfServiceKind.SLEEP:
                return await self._sleep(session_uid, epoch)
            case SelfServiceKind.SNAPSHOT:
                return await self._snapshot(session_uid, epoch)
        async with self._store.read() as reader:
            session = await _require(reader, session_uid, epoch)
        return words.status(self._rules.plan_of(session))

    async def _keep(self, uid: str, epoch: int, seconds: float) -> str:
        if seconds and not MIN_LEASE <= seconds <= MAX_LEASE:
            raise InvalidInput.of("keep", f"{seconds:g} seconds are not between 1 minute and 24 hours; 0 ends a lease")
        async with self._store.write(_INSIDE, "session.desired") as tx:
            session = await _require(tx, uid, epoch)
            if session.desired is not DesiredState.RUNNING:
                raise WrongState("it is about to be stopped or paused: log in again")
            until = self._clock() + timedelta(seconds=seconds) if seconds else None
            kept = replace(session, kept_until=until, update_time=self._clock())
            if kept.kept_until != session.kept_until:
                await tx.put(kept)
        self._rules.changed(uid)
        plan = self._rules.plan_of(kept)
        if until is None:
            return f"no lease any more\n{words.status(plan)}"
        if plan.stop_time is not None and plan.stop_time < until:
            return f"{words.status(plan)}\na lease does not change that"
        return f"kept awake until {words.clock(until)}"

    async def _sleep(self, uid: str, epoch: int) -> str:
        """Stops it as if it were idle, so that any login starts it again."""
        async with self._store.write(_INSIDE, "session.desired") as tx:
            session, now = await _require(tx, uid, epoch), self._clock()
            stopped = set_desired(session, DesiredState.STOPPED, now, Author(cause=ChangeCause.IDLE))
            await write_edited(tx, session, await with_runner(tx, session, stopped, now, ""), now)
        return "it stops now; the next login starts it again"

    async def _snapshot(self, uid: str, epoch: int) -> str:
        async with self._store.read() as reader:
            session = await _require(reader, uid, epoch)
        owner = Caller(session.owner, Role.USER)
        snapshot = await self._snapshots.create(owner, str(session.full_name), SnapshotDraft())
        return f"snapshot {snapshot.id} is being taken; see netvps snapshot ls {session.name}"

    def _require_few(self, uid: str) -> None:
        """Raises Exhausted for too many requests: each may be a write."""
        now = self._clock()
        full_at = max(self._full_at.get(uid, now), now) + _EACH
        if full_at - now > AT_ONCE * _EACH:
            raise Exhausted("too many requests from this session: wait ten seconds")
        self._full_at[uid] = full_at
        self._full_at.move_to_end(uid)
        while len(self._full_at) > _REMEMBERED:
            self._full_at.popitem(last=False)


async def _require(reader: Reader, uid: str, epoch: int) -> Session:
    session = await reader.get(Session, uid)
    if session is None or session.epoch != epoch:
        raise NotFound("this session was removed, or moved to another runner")
    return session
