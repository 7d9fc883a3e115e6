"""The loop around the steps: waits are interrupted, actions are not, and errors are retried."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from netvps import faults
from netvps.domain.session.container import ENGINE_AWAY, Container, Observed, SourceImage, Status
from netvps.domain.session.session import Assignment, DesiredState, SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.session.steps import Create, Erase, Fetch, Rest, Step, Wait
from netvps.errors import NetvpsError, Unavailable
from netvps.runner.session.kept import GaveUp
from netvps.runner.session.reconciler import SessionReconciler
from netvps.runner.session.reporter import Reporter
from netvps.runner.session.wake import Wake
from netvps.tasks import Tasks
from netvps.urgency import is_urgent
from tests.support.patience import PATIENCE

WANT = Assignment("u", "dev1", "ann", 1, 1, DesiredState.RUNNING, SessionSpec(image="x"), None, 1)


class ScriptedSteps:
    """Each look raises the next of `errors`, if there is one."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.taken: list[Step] = []
        self.closed = False
        self.news = asyncio.Event()

    async def resume(self, assignment: Assignment) -> None:
        pass

    async def inspect(self, assignment: Assignment) -> Observed:
        if self.errors:
            raise self.errors.pop(0)
        return Observed(source=SourceImage("x"))

    async def execute(self, assignment: Assignment, step: Step, wake: Wake) -> float | None:
        self.taken.append(step)
        self.news.set()
        return None

    async def close(self) -> None:
        self.closed = True


def worker(steps: ScriptedSteps, reports: list[SessionReport]) -> SessionReconciler:
    return SessionReconciler(WANT, steps, Reporter(reports.append), look_every=3600)  # type: ignore[arg-type]


async def test_a_new_assignment_breaks_off_a_wait_and_a_deletion_ends_it() -> None:
    steps = ScriptedSteps()
    looked_after = worker(steps, [])
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        task = tasks.start(looked_after.run(), name="worker")
        await steps.news.wait()
        looked_after.assign(replace(WANT, generation=2, desired=DesiredState.DELETED))
        await task
    assert isinstance(steps.taken[-1], Erase)
    assert not any(isinstance(step, Fetch | Rest) for step in steps.taken)
    assert steps.closed


async def test_what_its_owner_asked_for_is_urgent_until_the_session_rests() -> None:
    seen: list[tuple[str, bool]] = []

    class Noting(ScriptedSteps):
        async def inspect(self, assignment: Assignment) -> Observed:
            runs = Container("c", Status.RUNNING, 1) if assignment.generation > 1 and seen[-1][0] != "rest" else None
            return Observed(runs, source=SourceImage("x"))

        async def execute(self, assignment: Assignment, step: Step, wake: Wake) -> float | None:
            seen.append((type(step).__name__.lower(), is_urgent()))
            return await super().execute(assignment, step, wake)

    steps = Noting()
    looked_after = worker(steps, [])
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(looked_after.run(), name="worker")
        await steps.news.wait()
        steps.news.clear()
        looked_after.assign(replace(WANT, generation=2))
        await steps.news.wait()
        steps.news.clear()
        looked_after.wake()
        await steps.news.wait()
    assert seen == [("create", False), ("rest", True), ("create", False)]


async def test_an_error_is_retried_and_a_bug_is_no_end() -> None:
    steps = ScriptedSteps(Unavailable("away", reason=ENGINE_AWAY), ValueError("a bug"))
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(worker(steps, []).run(), name="worker")
        await steps.news.wait()
    assert steps.taken


async def test_a_retryable_failure_is_tried_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.runner.session.reconciler._RETRYABLE_MIN", 0.02)
    reports: list[SessionReport] = []
    full = GaveUp(SessionState.FAILED, "disk", "no room", retryable=True)
    steps = ScriptedSteps(full, full)
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(worker(steps, reports).run(), name="worker")
        await steps.news.wait()
    assert [report.reason for report in reports] == ["disk", "disk"]


async def test_a_full_disk_of_the_runner_itself_is_an_error_and_no_bug() -> None:
    reports: list[SessionReport] = []
    steps = ScriptedSteps(OSError(28, "No space left on device", "/run/x"), OSError(28, "No space left on device"))
    looked_after = worker(steps, reports)
    with capture_logs() as logged:
        async with Tasks() as tasks, asyncio.timeout(PATIENCE):
            tasks.start(looked_after.run(), name="worker")
            await steps.news.wait()
    assert not [line for line in logged if line["log_level"] == "error"]
    assert "No space left on device: '/run/x'" in logged[0]["error"]


async def test_what_was_given_up_waits_for_another_generation() -> None:
    reports: list[SessionReport] = []
    error: NetvpsError = GaveUp(SessionState.FAILED, "image", "no such image")
    steps = ScriptedSteps(error)
    looked_after = worker(steps, reports)
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(looked_after.run(), name="worker")
        while not reports:
            await asyncio.sleep(0)
        looked_after.wake()
        await asyncio.sleep(0.01)
        assert not steps.taken
        looked_after.assign(replace(WANT, generation=2))
        await steps.news.wait()
    assert (reports[0].state, reports[0].reason, reports[0].message) == (SessionState.FAILED, "image", "no such image")


@pytest.mark.parametrize("mode", ["raise", "hang"])
@pytest.mark.parametrize("point", ["step.wait.before", "step.wait.after"])
async def test_a_fault_while_the_engine_is_busy_is_only_a_round_more(
    point: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies there leaves what one leaves that fails: a wait does nothing."""
    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    (tmp_path / point).write_text(mode)
    gone, busy = Observed(source=SourceImage("x")), Observed(Container("c", Status.REMOVING, 1))

    class Busy(ScriptedSteps):
        async def inspect(self, assignment: Assignment) -> Observed:
            return gone if (tmp_path / f"{point}.hit").exists() else busy

        async def execute(self, assignment: Assignment, step: Step, wake: Wake) -> float | None:
            await super().execute(assignment, step, wake)
            return 0 if isinstance(step, Wait) else None

    steps = Busy()
    async with Tasks() as tasks, asyncio.timeout(PATIENCE):
        tasks.start(worker(steps, []).run(), name="worker")
        while not any(isinstance(step, Create) for step in steps.taken):
            steps.news.clear()
            await steps.news.wait()
    assert (tmp_path / f"{point}.hit").exists()
