"""Puts sessions that wait for a runner on one, inside whatever transaction brought the occasion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.lifecycle import place
from netvps.domain.placement import choose, why_none
from netvps.domain.runner import Runner, RunnerState
from netvps.domain.session import DesiredState, Session

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.services.ports import Reader, Transaction


async def placed(reader: Reader, session: Session, now: datetime) -> Session:
    """The session on the runner that suits it best, or, if there is none, saying why it waits."""
    runners = await reader.find(Runner)
    # Where no runner is online, a thousand that wait must not each read the thousand.
    online = any(runner.state is RunnerState.ONLINE for runner in runners)
    return _placed(session, runners, await reader.find(Session) if online else [], now)


async def place_waiting(tx: Transaction, now: datetime) -> None:
    """Places all sessions that wait, the longest waiting first."""
    waiting = [s for s in await tx.find(Session, runner="") if s.desired is DesiredState.RUNNING]
    if not waiting:
        return
    runners, sessions = await tx.find(Runner), await tx.find(Session)
    for session in sorted(waiting, key=lambda s: s.uid):
        after = _placed(session, runners, sessions, now)
        if after is not session:
            sessions.append(await tx.put(after))


def _placed(session: Session, runners: list[Runner], sessions: list[Session], now: datetime) -> Session:
    runner = choose(session.spec, runners, sessions)
    if runner is not None:
        return place(session, runner, now)
    why = why_none(session.spec, runners)
    return session if session.message == why else replace(session, message=why, update_time=now)
