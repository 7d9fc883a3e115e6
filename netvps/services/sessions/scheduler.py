"""Schedules pending sessions on runners, within the transaction of the event that triggered it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.runner.placement import Use, choose, why_none
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.session.lifecycle import ADDRESSES_EXHAUSTED, place, wait
from netvps.domain.session.session import DesiredState, Session
from netvps.services.network.addresses import Addresses, put_addressed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from netvps.services.ports import Reader, Transaction

_NAMED: Final = 3
"""Maximum number of runners named in a message."""
_CLAIMING: Final = (DesiredState.RUNNING, DesiredState.PAUSED)
"""A paused session counts, because it may run again at any moment."""


async def placed(reader: Reader, session: Session, now: datetime) -> Session:
    """The session placed on the best runner, or, if there is none, with a message why it waits."""
    return await _placed(session, await _online(reader), await _uses(reader), Addresses(reader), now)


async def place_waiting(tx: Transaction, now: datetime) -> None:
    """Places all waiting sessions, the longest waiting first."""
    waiting = await tx.find(Session, runner="", desired=DesiredState.RUNNING)
    if not waiting:
        return
    runners, uses, addresses = await _online(tx), await _uses(tx), Addresses(tx)
    for session in sorted(waiting, key=lambda s: s.uid):
        after = await _placed(session, runners, uses, addresses, now)
        if after is session:
            continue
        await put_addressed(tx, after)
        if after.runner:
            uses[after.runner] = uses.get(after.runner, Use()).with_session(after)


async def _online(reader: Reader) -> list[Runner]:
    return await reader.find(Runner, state=RunnerState.ONLINE)


async def _uses(reader: Reader) -> dict[str, Use]:
    """Resources in use by uid of the runner. Aggregated by the store, because there may be 100,000 sessions."""
    totals = await reader.tally(Session, "runner", "cpu_claim", "memory_claim", desired=_CLAIMING)
    return {runner: Use(*total) for runner, total in totals.items()}


async def _placed(
    session: Session, online: list[Runner], uses: Mapping[str, Use], addresses: Addresses, now: datetime
) -> Session:
    full: dict[str, str] = {}
    while runner := choose(session, (runner for runner in online if runner.uid not in full), uses):
        address = await addresses.pick(session.spec, runner)
        if address is not None:
            return place(session, runner, now, address)
        full[runner.uid] = runner.name
    if not full:
        return wait(session, "", why_none(session.spec, online), now)
    names = ", ".join(sorted(full.values())[:_NAMED]) + (
        f" and {len(full) - _NAMED} more" if len(full) > _NAMED else ""
    )
    message = f"all addresses on the overlay are taken ({names}): it starts when a session there is removed"
    return wait(session, ADDRESSES_EXHAUSTED, message, now)
