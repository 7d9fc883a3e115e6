"""Reconciles one session: inspect, plan the next action, execute it, report.

One task per session, so no two actions of it overlap. A new assignment or an event of the engine ends its waiting; it
never interrupts a call of the engine.
"""

from __future__ import annotations

import asyncio
import math
import random

import structlog

from netvps.domain.session.container import ENGINE_AWAY
from netvps.domain.session.plan import next_step
from netvps.domain.session.session import Assignment
from netvps.domain.session.steps import Erase, Rest
from netvps.errors import InternalError, NetvpsError, Unavailable
from netvps.faults import fault_point
from netvps.runner.assignment_store import same_content
from netvps.runner.session.actions import SessionActions
from netvps.runner.session.kept import GaveUp
from netvps.runner.session.reporter import Reporter
from netvps.runner.session.wake import Wake
from netvps.timing import timed
from netvps.urgency import urgency

_RETRY_MAX = 30.0
_RETRYABLE_MIN, _RETRYABLE_MAX = 15.0, 300.0
"""Backoff in seconds after a retryable GaveUp; doubles each time."""
log = structlog.get_logger()


class SessionReconciler:
    """Reconciles one session; `run` returns once the session is deleted."""

    def __init__(
        self,
        assignment: Assignment,
        steps: SessionActions,
        reporter: Reporter,
        *,
        look_every: float,
        asked: bool = False,
    ) -> None:
        """`asked`: the assignment is new, so most likely a person waits for it."""
        self._want = assignment
        self._asked = asked
        self._steps = steps
        self._reporter = reporter
        self._look_every = look_every
        self._wake = Wake()
        self._gave_up: tuple[object, ...] | None = None
        """Epoch, generation and orders of the last GaveUp; other ones start over."""
        self._retries = 0
        self._not_before = 0.0
        """When a retryable GaveUp is retried (loop time)."""
        self._failures = 0

    def assign(self, assignment: Assignment) -> None:
        """Takes a new assignment."""
        if not same_content(self._want, assignment):
            self._want = assignment
            self._asked = True
            self._wake.assigned()

    def wake(self) -> None:
        """Triggers a reconcile pass."""
        self._wake.happened()

    async def run(self) -> None:
        """Runs until the session is deleted. Cancelling it changes nothing in the engine."""
        with structlog.contextvars.bound_contextvars(session=self._want.session_uid):
            try:
                await self._steps.resume(self._want)
                while (pause := await self._reconcile()) is not None:
                    await self._wake.wait(pause)
            finally:
                await self._steps.close()

    async def _reconcile(self) -> float | None:
        """Does one pass; returns the seconds until the next, 0 for at once, None if the session is deleted."""
        self._wake.clear()
        assignment = self._want
        if self._gave_up == _attempt(assignment):
            if (left := self._not_before - asyncio.get_running_loop().time()) > 0:
                return min(left, _jittered(self._look_every))
            log.info("retrying after giving up")
            self._gave_up = None
        try:
            with urgency(urgent=self._asked):
                return await self._pass(assignment)
        except GaveUp as end:
            log.warning("gave up", state=end.state, reason=end.reason, error=end.message)
            self._give_up(assignment, retryable=end.retryable)
            self._reporter.report(assignment, end.state, reason=end.reason, message=end.message)
            return 0
        except (NetvpsError, OSError) as error:
            return self._retry(error if isinstance(error, NetvpsError) else _own_files(error))
        except Exception:  # a bug in one pass must not end the reconciler
            log.exception("bug in an action")
            return self._retry(InternalError("a bug of netvps; the runner's log has the details"))

    async def _pass(self, assignment: Assignment) -> float | None:
        """Inspects, plans and acts."""
        seen = await self._steps.inspect(assignment)
        step = next_step(assignment, seen)
        log.debug("next step", step=type(step).__name__)
        name = type(step).__name__.lower()
        fault_point(f"step.{name}.before")
        try:
            with timed("runner_step", name):
                pause = await self._steps.execute(assignment, step, self._wake)
        finally:  # also after GaveUp
            fault_point(f"step.{name}.after")
        self._failures = 0
        if isinstance(step, Rest):
            self._retries = 0
            self._asked = self._asked and self._want is not assignment
        if isinstance(step, Erase):
            return None
        return _jittered(self._look_every) if pause is None else pause

    def _give_up(self, assignment: Assignment, *, retryable: bool) -> None:
        """Ends the attempts for this generation, or for a backoff if retryable."""
        pause = _jittered(min(_RETRYABLE_MAX, _RETRYABLE_MIN * 2.0**self._retries)) if retryable else math.inf
        self._retries = min(self._retries + 1, 10) if retryable else 0
        self._asked = self._asked and self._want is not assignment
        self._gave_up = _attempt(assignment)
        self._not_before = asyncio.get_running_loop().time() + pause

    def _retry(self, error: NetvpsError) -> float:
        """Retries without limit, with backoff: the session is not the cause, and the fault may disappear."""
        self._failures += 1
        pause = _jittered(min(_RETRY_MAX, 2.0 ** min(self._failures - 1, 10)))
        # An unavailable engine is logged once, by the event watcher, and not by each of a hundred sessions.
        say = log.debug if error.reason == ENGINE_AWAY else log.info
        say("retrying", error=error.message, failures=self._failures, seconds=round(pause, 1))
        if error.reason == ENGINE_AWAY or self._failures > 1:
            self._reporter.remark(f"{error.message}; retrying")
        return pause


def _attempt(assignment: Assignment) -> tuple[object, ...]:
    """What a GaveUp was about."""
    return assignment.epoch, assignment.generation, assignment.snapshot_orders


def _own_files(error: OSError) -> NetvpsError:
    return Unavailable(f"the runner cannot use its own files ({error}); check its disk")


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 — no secret
