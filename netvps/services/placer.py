"""Puts sessions that wait for a runner on one, inside whatever transaction brought the occasion."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.lifecycle import place
from netvps.domain.placement import Use, choose, why_none
from netvps.domain.runner import Runner, RunnerState
from netvps.domain.session import DesiredState, Session

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from netvps.services.ports import Reader, Transaction


async def placed(reader: Reader, session: Session, now: datetime) -> Session:
    """The session on the runner that suits it best, or, if there is none, saying why it waits."""
    return _placed(session, await _online(reader), await _uses(reader), now)


async def place_waiting(tx: Transaction, now: datetime) -> None:
    """Places all sessions that wait, the longest waiting first."""
    waiting = await tx.find(Session, runner="", desired=DesiredState.RUNNING)
    if not waiting:
        return
    runners, uses = await _online(tx), await _uses(tx)
    for session in sorted(waiting, key=lambda s: s.uid):
        after = _placed(session, runners, uses, now)
        if after is session:
            continue
        await tx.put(after)
        if after.runner:
            uses[after.runner] = uses.get(after.runner, Use()).with_session(after)


async def _online(reader: Reader) -> list[Runner]:
    return await reader.find(Runner, state=RunnerState.ONLINE)


async def _uses(reader: Reader) -> dict[str, Use]:
    """By the runner's uid. Not from the sessions themselves: there may be a hundred thousand, at each create."""
    totals = await reader.tally(Session, "runner", "cpu_claim", "memory_claim", desired=DesiredState.RUNNING)
    return {runner: Use(*total) for runner, total in totals.items()}


def _placed(session: Session, online: list[Runner], uses: Mapping[str, Use], now: datetime) -> Session:
    runner = choose(session, online, uses)
    if runner is not None:
        return place(session, runner, now)
    why = why_none(session.spec, online)
    return session if session.message == why else replace(session, message=why, update_time=now)
