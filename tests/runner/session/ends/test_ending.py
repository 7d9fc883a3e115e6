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
from netvps.domain.snapshot.snapshot import Restore, RestoreState, SnapshotOrder
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

    async def once(self, container: Container) -> float:
        return await self.ending.terminate(WANTED, container)

    async def after_grace(self, container: Container) -> float:
        await asyncio.sleep(0.06)
        return await self.ending.terminate(WANTED, container)


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
    "container",
    [
        replace(RUNS, holdable=False),
        replace(RUNS, files=""),  # no copy can be made, so nothing is gained
    ],
)
async def test_a_container_that_cannot_be_held_ends_as_it_always_did(container: Container) -> None:
    ends = Terminated()
    assert await ends.once(container) > 0.04  # the engine tells of its end
    await ends.after_grace(container)
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


STOP = (
    "step.terminate.after", "step.copy.before", "copy.written", "step.copy.after",
    "step.commit.before", "commit.made", "commit.verified", "step.record.before",
    "step.rest.before",
)  # fmt: skip


RESTORE = (
    "step.terminate.after", "take.written", "step.take.after",
    "revert.made", "revert.unpacked", "step.revert.after", "step.start.before",
)  # fmt: skip


class Prunes:
    """Prunes what is of a session at one fault point after another."""

    def __init__(self, lab: Lab, assignment: Assignment) -> None:
        self._lab, self._assignment = lab, assignment
        self._armed = ""
        self._pruned = threading.Event()
        self.taken: dict[str, bool] = {}
        """Whether the container was taken at a point."""

    def arm(self, point: str) -> None:
        self._pruned.clear()
        self._armed = point

    def strike(self, _folder: Path, point: str) -> None:
        if point == self._armed:
            self._armed = ""
            self.taken[point] = prune(self._lab, self._assignment)
            self._pruned.set()

    async def done(self) -> bool:
        return await asyncio.to_thread(self._pruned.wait, 30)


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Prunes], None]:
    """Has fault points strike."""

    def use(prunes: Prunes) -> None:
        monkeypatch.setattr(faults, "_FOLDER", tmp_path)
        monkeypatch.setattr(faults, "_strike", prunes.strike)

    return use


@pytest.mark.docker
async def test_a_prune_at_any_point_of_a_stop_loses_nothing(lab: Lab, points: Callable[[Prunes], None]) -> None:
    """The container is taken at many of these points, and every start brings back every file of all runs before."""
    async with lab.runner():
        assignment = await started(lab)
        points(prunes := Prunes(lab, assignment))
        for number, point in enumerate(STOP):
            prunes.arm(point)
            stop = lab.next(assignment, STOPPED)
            assert await prunes.done(), point
            await lab.link.until(partial(_settled, lab, stop))
            await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
            files = (await lab.run_in(assignment, "ls", "/root")).split()
            assert files == sorted(["file", *(f"after-{one}" for one in STOP[:number])]), point
            await lab.run_in(assignment, "touch", f"/root/after-{point}")
    assert [point for point, gone in prunes.taken.items() if gone] != []
    assert not any(prunes.taken[point] for point in STOP[:3]), prunes.taken


@pytest.mark.docker
async def test_a_prune_at_any_point_of_a_restore_in_place_loses_nothing(
    lab: Lab, points: Callable[[Prunes], None]
) -> None:
    """Each time, it has the files of the snapshot, or those that it had before; the others are a snapshot, too."""
    async with lab.runner():
        assignment = await started(lab)
        points(prunes := Prunes(lab, assignment))
        lab.link.assign(ordered := replace(assignment, snapshot_orders=(SnapshotOrder(uid := f"{0:013}"),)))
        await lab.link.until(lambda: any(one.uid == uid for one in lab.link.reports[-1].snapshots))
        for number, point in enumerate(RESTORE, start=1):
            await lab.run_in(assignment, "touch", f"/root/before-{point}")
            now = (await lab.run_in(assignment, "ls", "/root")).split()
            prunes.arm(point)
            restore = Restore(f"r{number:012}", uid, f"{number:013}", datetime.now(UTC))
            orders = (SnapshotOrder(uid), SnapshotOrder(restore.previous))
            lab.link.assign(replace(ordered, restore=restore, snapshot_orders=orders, generation=1 + number))
            assert await prunes.done(), point
            await lab.link.until(partial(_restored, lab, restore))
            files = (await lab.run_in(assignment, "ls", "/root")).split()
            report = lab.link.reports[-1]
            done = report.restore and report.restore.state is RestoreState.DONE
            assert files == (["file"] if done else now), point
            assert any(one.uid == restore.previous for one in report.snapshots), point
    assert [point for point, gone in prunes.taken.items() if gone] != []
    assert not any(prunes.taken[point] for point in RESTORE[:3]), prunes.taken


def _restored(lab: Lab, restore: Restore) -> bool:
    report = lab.link.reports[-1]
    result = report.restore
    return report.state is SessionState.RUNNING and result is not None and result.uid == restore.uid


def _settled(lab: Lab, stop: Assignment) -> bool:
    """Whether the last report is that it is stopped, and nothing goes on."""
    report = [one for one in lab.link.reports if one.session_uid == stop.session_uid][-1]
    at_rest = report.state is SessionState.STOPPED and report.reason != "snapshot_pending"
    return report.generation == stop.generation and at_rest
