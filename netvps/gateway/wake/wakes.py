"""Starts sessions that sleep, for logins, and waits until they take logins.

However many logins wait for a session, one question at a time is asked about it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from netvps.domain.session.session import SessionState
from netvps.domain.sleep.waking import LoginEffect, LoginKind, starts
from netvps.errors import TimedOut, WrongState
from netvps.faults import fault_point
from netvps.gateway.ssh.readiness import hint_to_start, shown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.gateway.ports import Waker
    from netvps.services.access.logins import Grant, SessionRef
    from netvps.tasks import Tasks

WAKE_SECONDS: Final = 300.0
"""How long a login waits for its session."""
_LOOK_EVERY: Final = 0.3


class Wakes:
    """The sessions that logins of this process wait for."""

    def __init__(self, waker: Waker, tasks: Tasks) -> None:
        self._waker = waker
        self._tasks = tasks
        self._looks: dict[str, asyncio.Task[SessionRef]] = {}

    async def ready(self, grant: Grant, kind: LoginKind, say: Callable[[str], None]) -> None:
        """Starts or resumes the session of a grant if a login of that kind does, and waits until it takes logins.

        `say` gets each line of progress. A resumed session is not waited for: the dial waits for its agent. Raises
        WrongState if such a login does not start it or it could not start, TimedOut, and what `Waker` raises.
        """
        session, name = grant.session, shown_name(grant.session, grant.user)
        if session.effect is LoginEffect.NONE:
            return
        if session.effect is not LoginEffect.WAIT:
            if not starts(session.effect, kind):
                raise WrongState(f"it is {session.state}: {hint_to_start(session, name)}")
            resumed = session.effect is LoginEffect.RESUME
            say(f"session {name} is paused: resuming it" if resumed else f"session {name} is stopped: starting it")
            await self._waker.wake(session.uid, grant.user, kind)
            fault_point("gateway.woken")
            if resumed:
                return
        try:
            async with asyncio.timeout(WAKE_SECONDS):
                await self._until_ready(session, name, say)
        except TimeoutError:
            raise TimedOut(f"it did not start within {WAKE_SECONDS:.0f} s: see netvps show {name}") from None

    async def _until_ready(self, session: SessionRef, name: str, say: Callable[[str], None]) -> None:
        said = ""
        while (now := await self._look(session.uid)).effect is not LoginEffect.NONE:
            if now.effect is not LoginEffect.WAIT:
                why = now.message or f"it is {now.state}"
                raise WrongState(f"it did not start: {why}; see netvps show {name}")
            line = now.message or now.state.lower()
            if line != said and now.state is not SessionState.STOPPED:
                said = line
                say(f"session {name}: {line}")

    async def _look(self, uid: str) -> SessionRef:
        look = self._looks.get(uid)
        if look is None:
            look = self._looks[uid] = self._tasks.start(self._soon(uid), name=f"look at {uid}")
        return await asyncio.shield(look)

    async def _soon(self, uid: str) -> SessionRef:
        try:
            await asyncio.sleep(_LOOK_EVERY)
            return await self._waker.look(uid)
        finally:
            del self._looks[uid]
