"""Wakes a session for a login: one transaction, whatever its number of logins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.session.lifecycle import set_desired
from netvps.domain.session.session import Author, ChangeCause, DesiredState, Session
from netvps.domain.sleep.waking import LoginEffect, effect_of_login, starts, woken_by
from netvps.errors import NotFound, Unavailable, WrongState
from netvps.services.sessions.edits import with_runner, write_edited

if TYPE_CHECKING:
    from netvps.domain.sleep.waking import LoginKind
    from netvps.services.access.quotas import Quotas
    from netvps.services.ports import Clock, Store

_NOTHING_TO_DO = frozenset({LoginEffect.NONE, LoginEffect.WAIT})


async def wake_session(
    store: Store, clock: Clock, session_uid: str, actor: str, kind: LoginKind, *, quotas: Quotas
) -> None:
    """Resumes or starts it; `actor` is the login's user or key.

    Raises WrongState if such a login does not, Unavailable if its runner is offline, Exhausted if it has no free GPUs.
    """
    async with store.read() as reader:
        session = await reader.get(Session, session_uid)
    if session is None or effect_of_login(session) in _NOTHING_TO_DO:
        return
    async with store.write(actor, "session.desired") as tx:
        session = await tx.get(Session, session_uid)
        if session is None:
            raise NotFound("the session was removed")
        effect, now = effect_of_login(session), clock()
        if effect in _NOTHING_TO_DO:
            return
        if not starts(effect, kind):
            raise WrongState(f"it is {session.state}, and such a login does not start it")
        runner = await tx.get(Runner, session.runner) if session.runner else None
        if session.runner and (runner is None or runner.state is RunnerState.OFFLINE):
            how = "paused" if effect is LoginEffect.RESUME else "stopped"
            raise Unavailable(f"it is {how}, and its runner {session.runner_name} is offline: try when that returns")
        counted = woken_by(session, kind, now)
        woken = set_desired(counted, DesiredState.RUNNING, now, Author(actor, ChangeCause.LOGIN))
        await quotas.require(tx, session, woken)
        await write_edited(tx, session, await with_runner(tx, session, woken, now, ""), now)
