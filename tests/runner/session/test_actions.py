"""Single steps, and what goes wrong in them, on a real engine."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.errors import DiskFull, EngineSlow, EngineUnavailable
from netvps.domain.access.identity import AgentCredential
from netvps.domain.runner.docker_names import (
    LABEL_RUN,
    LABEL_SESSION,
    LABEL_SNAPSHOT,
    container_name,
    session_labels,
    unfinished_image,
)
from netvps.domain.session import plan
from netvps.domain.session.blueprint import Blueprint
from netvps.domain.session.container import SavedImage
from netvps.domain.session.session import Assignment, DesiredState, SessionState, SnapshotImage
from netvps.domain.session.spec import SessionSpec
from netvps.runner.session import reconciler as worker
from netvps.runner.session import tidying
from tests.runner.lab import Lab
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.docker


class FaultyEngine(DockerEngine):
    """One call fails once, before or after it did its work; or always."""

    def __init__(self, lab: Lab, method: str, error: Exception, *, after: bool = False, always: bool = False) -> None:
        super().__init__(lab.docker, node=lab.node, node_name="here", copies=lab.copies, overlay=lab.overlay)
        self.struck = asyncio.Event()
        real: Callable[..., Any] = getattr(self, method)

        async def faulty(*args: Any, **kwargs: Any) -> Any:
            if self.struck.is_set() and not always:
                return await real(*args, **kwargs)
            if after:
                await real(*args, **kwargs)
            self.struck.set()
            raise error

        setattr(self, method, faulty)


async def lived(lab: Lab, assignment: Assignment) -> None:
    """A session that ran, wrote a file and was stopped; by whatever runner."""
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
        await lab.link.reported(lab.next(assignment, DesiredState.STOPPED), SessionState.STOPPED)


async def lost(lab: Lab, assignment: Assignment, *, last_run: bool = True) -> None:
    """The container was removed by hand, and there is no copy; without `last_run`, no last run is known either."""
    await asyncio.to_thread(lambda: lab.api.remove_container(container_name(assignment.session_uid)))
    shutil.rmtree(lab.copies)
    if not last_run:
        (lab.settings.state_dir / f"last_runs/{assignment.session_uid}.json").unlink()


async def test_the_agents_certificate_is_asked_for_while_the_container_is_made(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(DockerEngine):
        async def create(self, plan: Blueprint) -> None:
            await asked.wait()  # without end, if it came afterwards
            await super().create(plan)

    async def agent_credential(session_uid: str, epoch: int) -> AgentCredential:
        asked.set()
        return await real(session_uid, epoch)

    asked, real = asyncio.Event(), lab.link.agent_credential
    monkeypatch.setattr(lab.link, "agent_credential", agent_credential)
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner(Waiting(lab.docker, node=lab.node, node_name="here", copies=lab.copies)):
        await lab.link.reported(assignment, SessionState.RUNNING)


async def test_a_failed_snapshot_keeps_the_container_and_a_start_goes_on_from_it(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    engine = FaultyEngine(lab, "commit", DiskFull("the snapshot needs 9 MiB and 1 MiB are free"), always=True)
    async with lab.runner(engine):
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
        stop = lab.next(assignment, DesiredState.STOPPED)
        failed = await lab.link.reported(stop, SessionState.STOPPED, "snapshot_failed")
        assert "9 MiB" in failed.message
        assert await lab.container(assignment) is not None
        start = lab.next(assignment, DesiredState.RUNNING)
        await lab.link.reported(start, SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def test_a_snapshot_that_took_too_long_is_tried_again_by_itself(lab: Lab) -> None:
    """A busy engine: the stop goes on, and is not given up with snapshot_failed."""
    assignment = lab.session()
    lab.link.assign(assignment)
    engine = FaultyEngine(lab, "commit", EngineSlow("Docker did not answer in 1800 s"))
    async with lab.runner(engine):
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.link.reported(lab.next(assignment, DesiredState.STOPPED), SessionState.STOPPED)
    assert "snapshot_failed" not in {report.reason for report in lab.link.reports}


async def test_a_repeated_stop_takes_the_snapshot_that_failed(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    engine = FaultyEngine(lab, "commit", DiskFull("full"))
    async with lab.runner(engine):
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.link.reported(lab.next(assignment, DesiredState.STOPPED), SessionState.STOPPED, "snapshot_failed")
        again = lab.next(assignment, DesiredState.STOPPED)
        await lab.link.reported(again, SessionState.STOPPED)
        recorded = lab.link.wanted[assignment.session_uid].snapshot
        assert recorded is not None
        assert recorded.generation == again.generation


async def test_a_failed_snapshot_is_taken_by_itself_after_a_while(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_RETRYABLE_MIN", 0.2)
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner(FaultyEngine(lab, "commit", DiskFull("full"))):
        await lab.link.reported(assignment, SessionState.RUNNING)
        stop = lab.next(assignment, DesiredState.STOPPED)
        await lab.link.until(lambda: any(report.reason == "snapshot_failed" for report in lab.link.reports))
        await lab.link.reported(stop, SessionState.STOPPED)
        assert lab.link.wanted[assignment.session_uid].snapshot is not None


async def test_a_stop_is_reported_before_its_snapshot_is_recorded(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    lab.link.recording = False
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        stop = lab.next(assignment, DesiredState.STOPPED)
        await lab.link.until(lambda: any(report.snapshot for report in lab.link.reports))
        await lab.link.reported(stop, SessionState.STOPPED, "snapshot_pending")
        lab.link.recording = True
        lab.link.hang_up()  # it connects again, and says it again
        await lab.link.reported(stop, SessionState.STOPPED)
        assert await lab.container(assignment) is not None
        assert len([name for name in await lab.traces() if "snapshot" in name]) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", ["create", "start", "signal", "copy", "commit", "prune", "erase"])
async def test_a_runner_that_dies_around_any_step_is_followed_by_one_that_finishes(
    lab: Lab, method: str, after: bool
) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    engine = FaultyEngine(lab, method, EngineUnavailable("Docker went away"), after=after)
    goals = [DesiredState.STOPPED, DesiredState.RUNNING, DesiredState.STOPPED]
    states = {DesiredState.STOPPED: SessionState.STOPPED, DesiredState.RUNNING: SessionState.RUNNING}
    async with lab.runner(engine):
        waiting = asyncio.get_running_loop().create_task(engine.struck.wait())
        while not waiting.done():
            now = lab.link.wanted[assignment.session_uid]
            await asyncio.wait(
                [
                    waiting,
                    *(tasks := [asyncio.get_running_loop().create_task(lab.link.reported(now, states[now.desired]))]),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if waiting.done():
                break
            if goals:
                lab.next(now, goals.pop(0))
            else:
                lab.next(now, DesiredState.DELETED)
                await waiting
    # That runner is dead. The next one brings the session up and down again, and away.
    async with lab.runner():
        if (
            assignment.session_uid in lab.link.wanted
            and lab.link.wanted[assignment.session_uid].desired is not DesiredState.DELETED
        ):
            await lab.link.reported(lab.next(assignment, DesiredState.RUNNING), SessionState.RUNNING)
            await lab.link.reported(lab.next(assignment, DesiredState.STOPPED), SessionState.STOPPED)
            await lab.link.reported(lab.next(assignment, DesiredState.DELETED), SessionState.DELETED)
        await lab.link.until(lambda: assignment.session_uid not in lab.link.wanted)
        assert await lab.traces() == []


async def test_a_killed_init_is_reported_and_started_again(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        await asyncio.to_thread(lab.api.kill, container_name(assignment.session_uid))
        await lab.link.until(lambda: lab.link.reports[-1].last_exit is not None)
        again = await lab.link.reported(assignment, SessionState.RUNNING)
        assert again.last_exit is not None
        assert (again.last_exit.cause, again.last_exit.exit_code) == ("killed", 137)


async def test_an_unknown_image_fails_with_a_sentence(lab: Lab) -> None:
    assignment = lab.session(SessionSpec(image="127.0.0.1:9/nothing:1"))
    lab.link.assign(assignment)
    async with lab.runner():
        failed = await lab.link.reported(assignment, SessionState.FAILED, "image")
        assert "127.0.0.1:9/nothing:1" in failed.message
        assert "cannot be reached" in failed.message


async def test_a_pause_without_an_owner_is_lifted(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        name = container_name(assignment.session_uid)
        await asyncio.to_thread(lab.api.pause, name)
        async with asyncio.timeout(PATIENCE):
            while (await asyncio.to_thread(lab.api.inspect_container, name))["State"]["Paused"]:
                await asyncio.sleep(0.05)


async def test_a_foreign_container_of_the_same_name_is_left_alone(lab: Lab) -> None:
    assignment = lab.session()
    name = container_name(assignment.session_uid)
    await asyncio.to_thread(lambda: lab.api.create_container(lab.image, ["true"], name=name))
    try:
        lab.link.assign(assignment)
        async with lab.runner():
            failed = await lab.link.reported(assignment, SessionState.FAILED, "container")
            assert name in failed.message
    finally:
        await asyncio.to_thread(lambda: lab.api.remove_container(name))


async def test_a_stop_before_there_is_a_container_needs_no_snapshot(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    stop = lab.next(assignment, DesiredState.STOPPED)
    async with lab.runner():
        stopped = await lab.link.reported(stop, SessionState.STOPPED)
        assert stopped.snapshot is None


async def test_a_lost_snapshot_image_is_reported_and_never_replaced_by_the_plain_image(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    await lived(lab, assignment)
    await lost(lab, assignment, last_run=False)  # stopped by a netvps that kept no containers
    snapshot = lab.link.wanted[assignment.session_uid].snapshot
    assert snapshot is not None
    await asyncio.to_thread(lambda: lab.api.remove_image(snapshot.image))
    async with lab.runner():
        failed = await lab.link.reported(lab.next(assignment, DesiredState.RUNNING), SessionState.FAILED, "snapshot")
        assert snapshot.image in failed.message


async def test_a_deep_snapshot_is_written_as_one_layer_once_its_session_is_stopped(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "FLATTEN_FROM", 2)
    assignment = lab.session()
    lab.link.assign(assignment)
    await lived(lab, assignment)
    await lost(lab, assignment)

    def flat() -> bool:
        snapshot = lab.link.wanted[assignment.session_uid].snapshot
        return snapshot is not None and snapshot.layers == 1

    async with lab.runner():
        await lab.link.until(flat)
        states = [report.state for report in lab.link.reports]
        assert set(states[states.index(SessionState.STOPPED) :]) == {SessionState.STOPPED}
        await lab.link.reported(lab.next(assignment, DesiredState.RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def test_what_an_engine_makes_for_a_runner_that_was_killed_is_removed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the next one is at rest, and after."""
    monkeypatch.setattr(tidying, "TIDY_AGAIN", 3.0)
    assignment = lab.session()
    lab.link.assign(assignment)
    unfinished = unfinished_image(assignment.session_uid, "s1")
    labels = session_labels(assignment.session_uid, lab.node, 1, 1) | {LABEL_SNAPSHOT: "s1", LABEL_RUN: "r1"}

    async def break_off() -> None:
        name, (repository, _, tag) = container_name(assignment.session_uid), unfinished.rpartition(":")
        await asyncio.to_thread(lambda: lab.api.commit(name, repository, tag, conf={"Labels": labels}))

    def images() -> list[Any]:
        labels = [f"{LABEL_SESSION}={assignment.session_uid}", LABEL_SNAPSHOT]
        found: list[Any] = lab.docker.api.images(filters={"label": labels})
        return found

    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
    await break_off()
    lab.link.reports.clear()
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.link.until(lambda: not images())
        await break_off()
        await lab.link.until(lambda: not images())


async def test_a_start_is_waited_for_by_no_flattening(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(DockerEngine):
        async def flatten(
            self, uid: str, assignment: Assignment, saved: SavedImage, given_up: Callable[[], bool]
        ) -> SnapshotImage | None:
            begun.set()
            while not given_up():
                await asyncio.sleep(0.01)
            return await super().flatten(uid, assignment, saved, given_up)

    begun = asyncio.Event()
    assignment = lab.session()
    lab.link.assign(assignment)
    await lived(lab, assignment)
    await lost(lab, assignment)
    monkeypatch.setattr(plan, "FLATTEN_FROM", 2)
    async with lab.runner(Long(lab.docker, node=lab.node, node_name="here", copies=lab.copies, overlay=lab.overlay)):
        await begun.wait()
        await lab.link.reported(lab.next(assignment, DesiredState.RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
        begun.clear()
        await lab.link.reported(lab.next(assignment, DesiredState.STOPPED), SessionState.STOPPED)
        await lost(lab, assignment)
        await begun.wait()
        await lab.link.reported(lab.next(assignment, DesiredState.DELETED), SessionState.DELETED)
    assert await lab.traces() == []


async def test_what_cannot_be_flattened_stays_deep_and_is_tried_no_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    class Full(DockerEngine):
        async def flatten(
            self, uid: str, assignment: Assignment, saved: SavedImage, given_up: Callable[[], bool]
        ) -> SnapshotImage | None:
            tried.append(saved.snapshot.image)
            raise DiskFull("no room")

    assignment = lab.session()
    lab.link.assign(assignment)
    await lived(lab, assignment)
    await lost(lab, assignment)
    monkeypatch.setattr(plan, "FLATTEN_FROM", 2)
    lab.link.reports.clear()
    async with lab.runner(
        Full(lab.docker, node=lab.node, node_name="here", copies=lab.copies, overlay=lab.overlay)
    ) as runner:
        await lab.link.until(lambda: bool(tried))
        lab.link.hang_up()
        beats = lab.link.heartbeats
        await lab.link.until(lambda: lab.link.heartbeats > beats + 9)  # it looks again every second
        assert runner.unsent_reports == 0
    assert len(tried) == 1
    assert {(report.state, report.reason, report.message) for report in lab.link.reports} == {
        (SessionState.STOPPED, "", "")
    }
