"""Looks after one session: sees what is there, asks the plan for the next step, takes it, and reports.

One task for each session, so nothing of it is ever done twice at once. A new assignment, or an event of the engine,
wakes it from waiting; it never breaks into a call of the engine.
"""

from __future__ import annotations

import asyncio
import math
import random

import structlog

from netvps.domain.container import ENGINE_AWAY, Erase, Rest, next_step
from netvps.domain.session import Assignment
from netvps.errors import InternalError, NetvpsError, Unavailable
from netvps.faults import fault_point
from netvps.runner.kept import GaveUp
from netvps.runner.memory import same_content
from netvps.runner.reporter import Reporter
from netvps.runner.steps import Steps
from netvps.runner.wake import Wake
from netvps.timing import timed

_RETRY_MAX = 30.0
_HOPE_MIN, _HOPE_MAX = 15.0, 300.0
"""Seconds after which what was given up for want of something is tried again; twice as long each time."""
log = structlog.get_logger()


class Worker:
    """Converges one session; `run` returns once the session is deleted."""

    def __init__(self, want: Assignment, steps: Steps, reporter: Reporter, *, look_every: float) -> None:
        self._want = want
        self._steps = steps
        self._reporter = reporter
        self._look_every = look_every
        self._wake = Wake()
        self._gave_up: tuple[int, int] | None = None
        """Epoch and generation at which there is nothing more to try; a new one is a new chance."""
        self._hopes = 0
        self._not_before = 0.0
        """When what was given up is tried again (loop time)."""
        self._failures = 0

    def assign(self, want: Assignment) -> None:
        """Takes a new assignment."""
        if not same_content(self._want, want):
            self._want = want
            self._wake.assigned()

    def wake(self) -> None:
        """Has it look again: something happened."""
        self._wake.happened()

    async def run(self) -> None:
        """Until the session is deleted. To cancel it ends the looking after, and nothing else."""
        with structlog.contextvars.bound_contextvars(session=self._want.session_uid):
            try:
                while (pause := await self._round()) is not None:
                    await self._wake.wait(pause)
            finally:
                await self._steps.close()

    async def _round(self) -> float | None:
        """One step; returns the seconds until the next, 0 for at once, None at the end of the session."""
        self._wake.clear()
        want = self._want
        if self._gave_up == (want.epoch, want.generation):
            if (left := self._not_before - asyncio.get_running_loop().time()) > 0:
                return min(left, _jittered(self._look_every))
            log.info("trying again what was given up")
            self._gave_up = None
        try:
            seen = await self._steps.look(want)
            step = next_step(want, seen)
            log.debug("next step", step=type(step).__name__)
            name = type(step).__name__.lower()
            fault_point(f"step.{name}.before")
            try:
                with timed("runner_step", name):
                    pause = await self._steps.take(want, step, self._wake)
            finally:  # of one that gave up, too
                fault_point(f"step.{name}.after")
        except GaveUp as end:
            log.warning("gave up", state=end.state, reason=end.reason, error=end.message)
            self._give_up(want, hope=end.hope)
            self._reporter.say(want, end.state, reason=end.reason, message=end.message)
            return 0
        except (NetvpsError, OSError) as error:
            return self._retry(error if isinstance(error, NetvpsError) else _own_files(error))
        except Exception:  # a bug in one round must not leave the session alone for ever
            log.exception("bug in a step")
            return self._retry(InternalError("a bug of netvps; the runner's log has the details"))
        self._failures = 0
        if isinstance(step, Rest):
            self._hopes = 0
        if isinstance(step, Erase):
            return None
        return _jittered(self._look_every) if pause is None else pause

    def _give_up(self, want: Assignment, *, hope: bool) -> None:
        """For this generation; for a while only, where what was wanting may come."""
        pause = _jittered(min(_HOPE_MAX, _HOPE_MIN * 2.0**self._hopes)) if hope else math.inf
        self._hopes = min(self._hopes + 1, 10) if hope else 0
        self._gave_up = (want.epoch, want.generation)
        self._not_before = asyncio.get_running_loop().time() + pause

    def _retry(self, error: NetvpsError) -> float:
        """Again, for ever, ever less often: it says nothing about the session, and the fault may heal."""
        self._failures += 1
        pause = _jittered(min(_RETRY_MAX, 2.0 ** min(self._failures - 1, 10)))
        # An engine that is away is said once, by whoever reads its events, and not by each of a hundred sessions.
        say = log.debug if error.reason == ENGINE_AWAY else log.info
        say("trying again", error=error.message, failures=self._failures, seconds=round(pause, 1))
        if error.reason == ENGINE_AWAY or self._failures > 1:
            self._reporter.remark(f"{error.message}; trying again")
        return pause


def _own_files(error: OSError) -> NetvpsError:
    return Unavailable(f"the runner cannot use its own files ({error}): see to its disk")


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 — no secret
