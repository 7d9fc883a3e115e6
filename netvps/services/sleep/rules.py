"""Pauses and stops sessions by their idle rules, and says what keeps them awake.

Activity is only in memory, as the last report of each agent that is connected to this server: an agent keeps its own
history, and reports it again to whichever server it connects to. So of several servers, the one that has the agent
decides about idle times, and each about what is in the store (awake hours, lifetimes, the stop of what is paused); a
transaction decides again, so that one of them does it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.access.sharing import Right
from netvps.domain.names import SessionName
from netvps.domain.runner.runner import PAUSE
from netvps.domain.session import lifecycle
from netvps.domain.session.session import OWN_RULE, Author, ChangeCause, DesiredState, Session, SessionState
from netvps.domain.sleep import words
from netvps.domain.sleep.idle import Facts, SleepAction, decide
from netvps.domain.sleep.policy import DEFAULT_CPU_FLOOR, SleepDefaults
from netvps.domain.tunnel import SleepNotice
from netvps.errors import NetvpsError
from netvps.services.page import read_all
from netvps.services.sessions.edits import with_runner, write_edited
from netvps.services.sessions.scope import find_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.domain.sleep.idle import SleepPlan
    from netvps.domain.tunnel import Activity
    from netvps.services.ports import Clock, Reader, Store

    Inform = Callable[[str, SleepNotice], bool]

LONGEST_PAUSE: Final = 30.0
"""Seconds between two looks at the sessions with rules, at most: until then a change of a policy has no effect."""
_SHORTEST_PAUSE: Final = 1.0
_BELIEVED: Final = timedelta(seconds=150)
"""How long a report counts: an agent repeats it every minute, and one that is silent may be behind a dead link."""
_AT_ONCE: Final = 200
"""Sessions that are decided about before other tasks run."""
_SILENT: Final = SleepNotice("", cpu_floor=DEFAULT_CPU_FLOOR)
"""What an agent goes by until it gets a notice."""
log = structlog.get_logger()


class IdleRules:
    """Takes the reports of agents (gateway.ports.AgentReports); `run` it."""

    def __init__(self, store: Store, clock: Clock, defaults: SleepDefaults) -> None:
        self._store = store
        self._clock = clock
        self._defaults = defaults
        self._activity: dict[str, tuple[Activity, datetime] | None] = {}
        """The last report of each connected agent, and when it came, by session."""
        self._served: dict[str, tuple[int, datetime]] = {}
        """Open HTTP connections, and when their number last changed, by session."""
        self._told: dict[str, SleepNotice] = {}
        self._warned: dict[str, datetime] = {}
        """The stop that open terminals were warned of, by session."""
        self._refused: dict[str, str] = {}
        """What could not be done with a session, which is logged once."""
        self._new: set[str] = set()
        """Sessions whose agents are to be informed before the next look at all of them."""
        self._news = asyncio.Event()
        self.running_commands: Callable[[str], int] = lambda _uid: 0
        """Number of commands that run in a session for the API."""

    def connected(self, session_uid: str) -> None:
        """An agent connected. It has reported nothing yet, so it counts as active."""
        self._activity[session_uid] = None
        self._told.pop(session_uid, None)
        self.changed(session_uid)

    def report(self, session_uid: str, activity: Activity) -> None:
        """Keeps the last report of an agent."""
        self._activity[session_uid] = activity, self._clock()

    def served(self, session_uid: str, streams: int) -> None:
        """Keeps the number of open HTTP connections into a session."""
        if streams or session_uid in self._served:
            self._served[session_uid] = streams, self._clock()

    def disconnected(self, session_uid: str) -> None:
        """Forgets an agent."""
        for known in (self._activity, self._served, self._told, self._warned):
            known.pop(session_uid, None)

    async def plan(self, caller: Caller, name: str) -> SleepPlan:
        """What keeps the session NAME or NAME.OWNER awake, and when it is stopped. Raises NotFound."""
        full_name = SessionName.parse(name, caller.user)
        async with self._store.read() as reader:
            session = await find_session(reader, caller, full_name, Right.INSPECT)
        return self.plan_of(session)

    def plan_of(self, session: Session) -> SleepPlan:
        """The plan of a session now."""
        now, tasks = self._clock(), self.running_commands(session.uid)
        activity, at = self._activity.get(session.uid) or (None, now)
        known = activity if now - at <= _BELIEVED else None
        streams, served = self._served.get(session.uid) or (0, None)
        return decide(Facts(session, self._defaults, known, tasks, streams, served), now)

    def changed(self, session_uid: str) -> None:
        """Informs the session's agent within a second or so."""
        self._new.add(session_uid)
        self._news.set()

    async def run(self, inform: Inform) -> None:
        """Applies the rules until cancelled; `inform` sends a notice to a session's agent, if that is connected."""
        while True:
            pause = LONGEST_PAUSE
            try:
                pause = await self.apply(inform)
            except NetvpsError as error:
                log.warning("cannot apply the idle rules; trying again", error=error.message)
            pause = max(pause, _SHORTEST_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._keep_informing(inform, self._clock() + timedelta(seconds=pause))

    async def _keep_informing(self, inform: Inform, next_look: datetime) -> None:
        """Informs the agents that have just connected, many with one read: all of them connect after a restart.

        Returns if something is due before the next look at the sessions with rules.
        """
        while True:
            await self._news.wait()
            await asyncio.sleep(_SHORTEST_PAUSE)
            self._news.clear()
            new, self._new = self._new, set()
            try:
                async with self._store.read() as reader:
                    found = [await reader.get(Session, uid) for uid in new]
            except NetvpsError as error:
                log.warning("cannot inform agents; trying again", error=error.message)
                return
            due = next_look
            for session in found:
                if session is not None and session.state is SessionState.RUNNING:
                    plan = self.plan_of(session) if self._has_rules(session) else None
                    self._inform(session, plan, inform)
                    due = _first_due(plan, due)
            if due < next_look:
                return

    async def apply(self, inform: Inform) -> float:
        """Does what is due now, and informs agents; returns the seconds until something is due again."""
        async with self._store.read() as reader:
            sessions = await self._read_ruled(reader)
        now = self._clock()
        next_due = now + timedelta(seconds=LONGEST_PAUSE)
        for index, session in enumerate(sessions):
            if index % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            plan = self.plan_of(session) if self._has_rules(session) else None
            self._inform(session, plan, inform)
            if plan is None:
                continue
            if plan.action is not SleepAction.NONE:
                await self._carry_out(session)
            next_due = _first_due(plan, next_due)
        present = {session.uid for session in sessions}
        self._refused = {uid: why for uid, why in self._refused.items() if uid in present}
        return (next_due - now).total_seconds()

    async def _read_ruled(self, reader: Reader) -> list[Session]:
        """Those that rules apply to, and those whose agents go by a rule that is gone."""
        own = {} if self._defaults != SleepDefaults() else {"sleep_rule": OWN_RULE}
        sessions = await read_all(reader, Session, state=(SessionState.RUNNING, SessionState.PAUSED), **own)
        ruled = {session.uid for session in sessions}
        for uid in [uid for uid, notice in self._told.items() if notice != _SILENT and uid not in ruled]:
            session = await reader.get(Session, uid)
            if session is not None and session.state is SessionState.RUNNING:
                sessions.append(session)
        return sessions

    def _has_rules(self, session: Session) -> bool:
        return bool(session.sleep_rule) or self._defaults != SleepDefaults()

    def _inform(self, session: Session, plan: SleepPlan | None, inform: Inform) -> None:
        """Tells the session's agent what is new: the greeting, and the warning before a stop."""
        uid = session.uid
        floor = session.spec.sleep.cpu_floor or DEFAULT_CPU_FLOOR
        notice = SleepNotice(words.greeting(session, self._defaults, self._clock()), cpu_floor=floor)
        warning = ""
        if plan and plan.stop_time and plan.warn_time and plan.action is SleepAction.NONE:
            is_due = plan.warn_time <= plan.time
            if is_due and self._warned.get(uid) != plan.stop_time:
                warning = words.warning(plan)
        if uid not in self._activity or (not warning and self._told.get(uid, _SILENT) == notice):
            return
        if inform(uid, replace(notice, warning=warning)):
            self._told[uid] = notice
            if warning and plan and plan.stop_time:
                self._warned[uid] = plan.stop_time

    async def _carry_out(self, seen: Session) -> None:
        try:
            async with self._store.write("", "session.desired") as tx:
                session = await tx.get(Session, seen.uid)
                if session is None:
                    return
                plan, now = self.plan_of(session), self._clock()
                if plan.action is SleepAction.NONE:
                    return
                if plan.action is SleepAction.PAUSE:
                    after = lifecycle.pause(session, now, Author(cause=ChangeCause.IDLE))
                    after = await with_runner(tx, session, after, now, PAUSE)
                else:
                    author = Author(cause=plan.stop_cause)
                    after = lifecycle.set_desired(session, DesiredState.STOPPED, now, author)
                    after = await with_runner(tx, session, after, now, "")
                await write_edited(tx, session, after, now)
            log.info("session put to sleep", session=seen.uid, action=plan.action, cause=after.desired_by.cause)
        except NetvpsError as error:
            if self._refused.get(seen.uid) != error.message:
                self._refused[seen.uid] = error.message
                log.warning("cannot put a session to sleep; trying again", session=seen.uid, error=error.message)


def _first_due(plan: SleepPlan | None, other: datetime) -> datetime:
    """When the plan next asks for something, if that is before another time."""
    if plan is None:
        return other
    return min([other, *(due for due in (plan.pause_time, plan.warn_time, plan.stop_time) if due and due > plan.time)])
