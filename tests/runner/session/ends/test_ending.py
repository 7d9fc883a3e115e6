"""How a session's processes end, and that its files are at no moment only where Docker prunes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netvps import faults
from netvps.adapters.docker.engine import DockerEngine
from netvps.domain.runner.docker_names import LABEL_SESSION, container_name
from netvps.domain.session.container import Container, Status
from netvps.domain.session.session import Assignment, DesiredState, SessionReport, SessionState
from netvps.domain.session.spec import Network, RestartPolicy, SessionSpec
from netvps.domain.snapshot.snapshot import Restore
from netvps.runner.session.ends.ending import HOLD, Ending
from netvps.runner.session.reporter import Reporter
from tests.runner.lab import Lab

RUNNING, STOPPED = DesiredState.RUNNING, DesiredState.STOPPED
WANTED = Assignment("0123456789abc", "dev1", "ann", 1, 1, STOPPED, SessionSpec("busybox", stop_grace=0.05), None, 1)
RUNS = Container("c1", Status.RUNNING, 1, files="/upper", holdable=True)
ENDS = replace(RUNS, ending=True)
HELD = replace(ENDS, held=True)


class Signals:
    """An engine that notes signals."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def signal(self, container: Container, signal: str) -> None:
        self.sent.append(signal)


class Terminated:
    """A container that is being ended, step by step."""

    def __init__(self) -> None:
        self.engine = Signals()
        self.reports: list[SessionReport] = []
        self.ending = Ending(self.engine, Reporter(self.reports.append))  # type: ignore[arg-type]

    async def once(self, container: Container, wanted: Assignment = WANTED) -> float:
        return await self.ending.terminate(wanted, container)

    async def after_grace(self, container: Container, wanted: Assignment = WANTED) -> float:
        await asyncio.sleep(0.06)
        return await self.ending.terminate(wanted, container)


async def test_a_stop_holds_the_container_and_looks_soon_whether_its_processes_ended() -> None:
    ends = Terminated()
    pauses = [await ends.once(container) for container in (RUNS, ENDS, HELD)]
    assert ends.engine.sent == [HOLD, "TERM"]
    assert pauses[0] < 0.1
    assert pauses[2] == 2.0  # the engine tells of its end
    assert [report.state for report in ends.reports] == [SessionState.STOPPING]


async def test_what_ignores_sigterm_is_killed_and_pid_1_only_if_that_does_not_help() -> None:
    ends = Terminated()
    await ends.once(RUNS)
    await ends.after_grace(ENDS)
    assert ends.engine.sent == [HOLD, HOLD]
    ends.ending._until = 0.0  # two seconds later
    await ends.once(ENDS)
    assert ends.engine.sent == [HOLD, HOLD, "KILL"]


async def test_a_container_whose_end_the_engine_has_not_noticed_does_not_work_again() -> None:
    ends = Terminated()
    await ends.once(RUNS)
    await ends.once(HELD)
    assert ends.ending.inspect(RUNS) == ENDS
    await ends.once(ENDS)
    assert ends.engine.sent == [HOLD, "TERM"]
    assert len(ends.reports) == 1
    started_again = replace(RUNS, started=datetime.now(UTC))
    assert ends.ending.inspect(started_again) == started_again
    assert ends.ending.inspect(None) is None


async def test_a_runner_that_finds_a_container_ending_does_not_cut_its_grace_short() -> None:
    ends = Terminated()
    await ends.once(ENDS)
    assert ends.engine.sent == []
    await ends.after_grace(ENDS)
    assert ends.engine.sent == [HOLD]


@pytest.mark.parametrize(
    ("container", "wanted"),
    [
        (replace(RUNS, holdable=False), WANTED),
        (replace(RUNS, files=""), WANTED),  # no copy can be made, so nothing is gained
        (RUNS, replace(WANTED, restore=Restore("r", "s", "p", datetime.now(UTC)))),
    ],
)
async def test_a_container_that_need_not_be_held_ends_as_it_always_did(
    container: Container, wanted: Assignment
) -> None:
    ends = Terminated()
    assert await ends.once(container, wanted) > 0.04  # the engine tells of its end
    await ends.after_grace(container, wanted)
    assert ends.engine.sent == ["TERM", "KILL"]


async def started(lab: Lab) -> Assignment:
    assignment = lab.session()
    lab.link.assign(assignment)
    await lab.link.reported(assignment, SessionState.RUNNING)
    await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
    return assignment


def prune(lab: Lab, assignment: Assignment) -> bool:
    """What `docker system prune -af --volumes` does to what is of this session; whether the container was taken."""
    own = {"label": [f"{LABEL_SESSION}={assignment.session_uid}"]}
    taken = lab.api.prune_containers(own)["ContainersDeleted"]
    lab.api.prune_volumes(own)
    lab.api.prune_images({"dangling": False, **own})
    return bool(taken)


async def state(lab: Lab, assignment: Assignment) -> dict[str, Any]:
    found = await asyncio.to_thread(lambda: lab.api.inspect_container(container_name(assignment.session_uid)))
    return dict(found["State"])


class SlowCopies(DockerEngine):
    """One whose copies wait until a test lets them."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.docker, node=lab.node, node_name="here", copies=lab.copies, overlay=lab.overlay)
        self.begun, self.go_on = threading.Event(), asyncio.Event()

    async def copy(self, assignment: Assignment, container: Container, given_up: Callable[[], bool]) -> bool:
        self.begun.set()
        await self.go_on.wait()
        return await super().copy(assignment, container, given_up)


@pytest.mark.docker
async def test_a_session_that_is_reported_as_stopped_is_in_no_danger_before_its_files_are_copied(lab: Lab) -> None:
    engine = SlowCopies(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        stop = lab.next(assignment, STOPPED)
        await lab.link.reported(stop, SessionState.STOPPED, "snapshot_pending")
        assert not await asyncio.to_thread(prune, lab, assignment)
        assert (await state(lab, assignment))["Running"]
        engine.go_on.set()
        report = await lab.link.reported(stop, SessionState.STOPPED)
        assert report.last_exit is not None
        assert (report.last_exit.cause, report.last_exit.exit_code) == ("stopped", 0)
        assert not (await state(lab, assignment))["Running"]
        assert await asyncio.to_thread(prune, lab, assignment)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


@pytest.mark.docker
async def test_a_session_whose_container_ended_by_itself_says_that_its_files_are_not_copied_yet(lab: Lab) -> None:
    engine = SlowCopies(lab)
    spec = SessionSpec(image=lab.image, network=Network.NONE, restart_policy=RestartPolicy.NEVER)
    assignment = lab.session(spec)
    lab.link.assign(assignment)
    async with lab.runner(engine):
        await lab.link.reported(assignment, SessionState.RUNNING)
        await asyncio.to_thread(lambda: lab.api.kill(container_name(assignment.session_uid)))
        stop = replace(assignment, generation=2)  # which the control plane makes of the report of its end
        pending = await lab.link.reported(stop, SessionState.STOPPED, "snapshot_pending")
        assert pending.message.endswith("until then only its container has them")
        engine.go_on.set()
        await lab.link.reported(stop, SessionState.STOPPED)


@pytest.mark.docker
@pytest.mark.parametrize("runner_dies", [False, True])
async def test_a_start_while_the_container_is_held_starts_it_at_once(lab: Lab, runner_dies: bool) -> None:
    engine = SlowCopies(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        before = await state(lab, assignment)
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED, "snapshot_pending")
        if not runner_dies:
            await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
    if runner_dies:
        start = lab.next(assignment, RUNNING)
        async with lab.runner():
            await lab.link.reported(start, SessionState.RUNNING)
    assert (await state(lab, assignment))["StartedAt"] > before["StartedAt"]
    assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
    assert not [report for report in lab.link.reports if "exited by itself" in report.message]


POINTS = (
    "step.terminate.after", "step.copy.before", "copy.written", "step.copy.after",
    "step.commit.before", "commit.made", "commit.verified", "step.record.before",
    "step.rest.before",
)  # fmt: skip


@pytest.mark.docker
async def test_a_prune_at_any_point_of_a_stop_loses_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The container is taken at many of these points, and every start brings back every file of all runs before."""
    armed, taken, pruned = "", dict[str, bool](), threading.Event()

    def strike(_folder: Path, point: str) -> None:
        nonlocal armed
        if point == armed:
            armed = ""
            taken[point] = prune(lab, assignment)
            pruned.set()

    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    monkeypatch.setattr(faults, "_strike", strike)
    async with lab.runner():
        assignment = await started(lab)
        for number, point in enumerate(POINTS):
            armed = point
            stop = lab.next(assignment, STOPPED)
            assert await asyncio.to_thread(pruned.wait, 30), point
            pruned.clear()
            await lab.link.until(partial(_settled, lab, stop))
            await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
            files = (await lab.run_in(assignment, "ls", "/root")).split()
            assert files == sorted(["file", *(f"after-{one}" for one in POINTS[:number])]), point
            await lab.run_in(assignment, "touch", f"/root/after-{point}")
    assert [point for point, gone in taken.items() if gone] != []
    assert not any(taken[point] for point in POINTS[:3]), taken


def _settled(lab: Lab, stop: Assignment) -> bool:
    """Whether the last report is that it is stopped, and nothing goes on."""
    report = [one for one in lab.link.reports if one.session_uid == stop.session_uid][-1]
    at_rest = report.state is SessionState.STOPPED and report.reason != "snapshot_pending"
    return report.generation == stop.generation and at_rest
