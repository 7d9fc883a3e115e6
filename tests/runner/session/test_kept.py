"""What is kept of a stopped session: its container, and, when that is gone, all that was in it."""

from __future__ import annotations

import asyncio
import shutil
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from netvps import faults
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.errors import DiskFull, ImageImportFailed
from netvps.domain.runner.docker_names import container_name
from netvps.domain.session.blueprint import Blueprint
from netvps.domain.session.container import Container, Observed, Status
from netvps.domain.session.session import Assignment, DesiredState, SessionState, SnapshotImage
from netvps.domain.snapshot.snapshot import SnapshotOrder, SnapshotResult, SnapshotState
from tests.runner.lab import Lab

pytestmark = pytest.mark.docker
RUNNING, STOPPED = DesiredState.RUNNING, DesiredState.STOPPED


class Engine(DockerEngine):
    """One whose copies fail, or whose commits wait, as a test wants."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.docker, node=lab.node, node_name="here", copies=lab.copies, overlay=lab.overlay)
        self.copy_fails = self.restore_fails = False
        self.commits, self.go_on = threading.Event(), asyncio.Event()
        self.go_on.set()
        self.taken: list[SnapshotImage | None] = []

    async def copy(self, assignment: Assignment, container: Container, given_up: Callable[[], bool]) -> bool:
        if self.copy_fails:
            raise DiskFull("the copy needs 9 MiB and 1 MiB are free")
        return await super().copy(assignment, container, given_up)

    async def restore(self, plan: Blueprint, replaced: Container | None) -> None:
        if self.restore_fails:
            raise ImageImportFailed("the copy is damaged")
        await super().restore(plan, replaced)

    async def commit(
        self, uid: str, assignment: Assignment, container: Container, *, flatten: bool, given_up: Callable[[], bool]
    ) -> SnapshotImage | None:
        self.commits.set()
        await self.go_on.wait()
        self.taken.append(await super().commit(uid, assignment, container, flatten=flatten, given_up=given_up))
        return self.taken[-1]


async def started(lab: Lab) -> Assignment:
    assignment = lab.session()
    lab.link.assign(assignment)
    await lab.link.reported(assignment, SessionState.RUNNING)
    await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
    return assignment


async def forgotten(lab: Lab, assignment: Assignment) -> None:
    """As after `docker system prune -a`."""
    snapshot = lab.link.wanted[assignment.session_uid].snapshot

    def forget() -> None:
        lab.api.remove_container(container_name(assignment.session_uid))
        if snapshot:
            lab.api.remove_image(snapshot.image, force=True)

    await asyncio.to_thread(forget)


async def taken(lab: Lab, assignment: Assignment, uid: str) -> SnapshotResult:
    """The result of an order for a snapshot."""
    known = lab.link.wanted[assignment.session_uid]
    lab.link.assign(replace(known, snapshot_orders=(SnapshotOrder(uid),)))

    def results() -> list[SnapshotResult]:
        return [one for report in lab.link.reports[-1:] for one in report.snapshots if one.uid == uid]

    await lab.link.until(lambda: bool(results()))
    return results()[0]


async def container_id(lab: Lab, assignment: Assignment) -> object:
    return (await lab.container(assignment) or {}).get("Id")


async def test_a_start_starts_the_container_that_was_stopped(lab: Lab) -> None:
    async with lab.runner():
        assignment = await started(lab)
        before = await container_id(lab, assignment)
        await lab.run_in(assignment, "sh", "-c", "mkdir -p /run/web && echo 17 > /run/web/server.pid")
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await container_id(lab, assignment) == before
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
        assert await lab.run_in(assignment, "sh", "-c", "ls -d /run/web; ls /run/web") == "/run/web\n"


@pytest.mark.parametrize("restore_fails", [False, True])
async def test_after_an_upgrade_a_start_makes_the_container_again_for_the_new_agent(
    lab: Lab, restore_fails: bool
) -> None:
    engine = Engine(lab)
    engine.restore_fails = restore_fails
    async with lab.runner(engine):
        assignment = await started(lab)
        before = await container_id(lab, assignment)
        await lab.run_in(assignment, "sh", "-c", "cd /root && echo notes > .wh.file")
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED, "snapshot_failed")
    newer = lab.settings.run_dir.with_name("newer")
    newer.write_bytes(lab.settings.agent.read_bytes() + b"\0")
    lab.settings = replace(lab.settings, agent=newer)
    async with lab.runner(engine):
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert (await container_id(lab, assignment) == before) is restore_fails  # it runs on with the older agent then
        assert await lab.run_in(assignment, "sh", "-c", "cd /root && cat file .wh.file") == "kept\nnotes\n"


async def test_a_start_waits_for_no_commit_and_what_that_makes_is_dropped(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        engine.go_on.clear()
        stop = lab.next(assignment, STOPPED)
        assert await asyncio.to_thread(engine.commits.wait, 30)
        await lab.link.reported(stop, SessionState.STOPPED, "snapshot_pending")
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        engine.go_on.set()
        await lab.link.until(lambda: engine.taken == [None])
        stop = lab.next(assignment, STOPPED)
        await lab.link.reported(stop, SessionState.STOPPED)
        recorded = lab.link.wanted[assignment.session_uid].snapshot
        assert recorded is not None
        assert recorded.generation == stop.generation
        assert [name for name in await lab.traces() if "netvps-" in name and ":" in name] == [f"['{recorded.image}']"]


async def test_a_stop_while_the_commit_of_the_stop_before_runs_takes_a_snapshot_of_its_own(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        engine.go_on.clear()
        lab.next(assignment, STOPPED)
        assert await asyncio.to_thread(engine.commits.wait, 30)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "echo later > /root/later")
        stop = lab.next(assignment, STOPPED)
        await lab.link.reported(stop, SessionState.STOPPED, "snapshot_pending")  # it does not wait for the first one
        engine.go_on.set()
        await lab.link.reported(stop, SessionState.STOPPED)
        recorded = lab.link.wanted[assignment.session_uid].snapshot
        assert recorded is not None
        assert (engine.taken[0], recorded.generation) == (None, stop.generation)
        assert [name for name in await lab.traces() if "netvps-" in name and ":" in name] == [f"['{recorded.image}']"]
        await forgotten(lab, assignment)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file", "/root/later") == "kept\nlater\n"


async def test_what_docker_forgot_comes_back_by_itself(lab: Lab) -> None:
    async with lab.runner():
        assignment = await started(lab)
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await forgotten(lab, assignment)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await lab.link.reported(lab.next(assignment, DesiredState.DELETED), SessionState.DELETED)
    assert await lab.traces() == []
    assert not list(lab.copies.glob("*.*"))
    assert not list((lab.settings.state_dir / "last_runs").iterdir())


async def test_a_damaged_copy_leaves_the_snapshot(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await asyncio.to_thread(lambda: lab.api.remove_container(container_name(assignment.session_uid)))
        engine.restore_fails = True
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def test_a_damaged_copy_without_a_snapshot_is_reported(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        engine.restore_fails = True
        await forgotten(lab, assignment)
        failed = await lab.link.reported(lab.next(assignment, RUNNING), SessionState.FAILED, "container")
        assert failed.message.endswith("delete the session (the copy is damaged)")


async def test_a_copy_that_fails_is_reported_once_the_snapshot_is_taken(lab: Lab) -> None:
    engine = Engine(lab)
    engine.copy_fails = True
    async with lab.runner(engine):
        assignment = await started(lab)
        report = await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED, "snapshot_failed")
        assert "9 MiB" in report.message
        assert lab.link.wanted[assignment.session_uid].snapshot is not None
        engine.copy_fails = False
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)


async def test_a_snapshot_of_a_stopped_session_waits_for_no_commit_and_is_of_its_last_run(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        engine.go_on.clear()
        for uid in ("0000000000001", "0000000000002"):
            await lab.run_in(assignment, "touch", f"/root/{uid}")
            await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED, "snapshot_pending")
            assert (await taken(lab, assignment, uid)).state is SnapshotState.READY
            with tarfile.open(lab.copies / "snapshots" / f"{assignment.session_uid}-{uid}.tar") as archive:
                assert f"./root/{uid}" in archive.getnames()
            await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        engine.go_on.set()


async def test_a_stopped_session_of_which_no_image_can_be_made_has_snapshots(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        await lab.run_in(assignment, "touch", "/root/.wh.file")
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED, "snapshot_failed")
        assert (await taken(lab, assignment, "0000000000001")).state is SnapshotState.READY
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        engine.copy_fails = True
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED, "snapshot_failed")
        failed = await taken(lab, assignment, "0000000000002")
        assert failed.state is SnapshotState.FAILED
        assert failed.message.endswith("the copy needs 9 MiB and 1 MiB are free")


async def test_what_was_removed_before_it_was_copied_is_reported_and_nothing_older_starts(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await started(lab)
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        engine.copy_fails = True
        engine.go_on.clear()
        engine.commits.clear()
        stop = lab.next(assignment, STOPPED)
        assert await asyncio.to_thread(engine.commits.wait, 30)
        await asyncio.to_thread(lambda: lab.api.remove_container(container_name(assignment.session_uid)))
        engine.go_on.set()
        await lab.link.reported(stop, SessionState.FAILED, "container")
        failed = await lab.link.reported(lab.next(assignment, RUNNING), SessionState.FAILED, "container")
        assert "docker container prune" in failed.message
        (lab.settings.state_dir / f"last_runs/{assignment.session_uid}.json").unlink()  # as the message says
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def test_names_that_no_image_holds_are_reported_and_the_files_are_kept(lab: Lab) -> None:
    async with lab.runner():
        assignment = await started(lab)
        await lab.run_in(assignment, "sh", "-c", "cd /root && echo notes > .wh.file")
        report = await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED, "snapshot_failed")
        assert "/root/.wh.file" in report.message
        await asyncio.to_thread(lambda: lab.api.remove_container(container_name(assignment.session_uid)))
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "sh", "-c", "cd /root && cat file .wh.file") == "kept\nnotes\n"


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("point", ["step.remove.before", "step.remove.after"])
async def test_a_container_that_cannot_be_started_is_made_again_from_what_was_kept(
    lab: Lab, point: str, copied: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Dead(DockerEngine):
        async def inspect(self, assignment: Assignment) -> Observed:
            observed = await super().inspect(assignment)
            if observed.container is None or observed.container.id != ended:
                return observed
            observed = await super().inspect(replace(assignment, desired=STOPPED))
            assert observed.container
            return replace(observed, container=replace(observed.container, status=Status.DEAD))

    async with lab.runner():
        assignment = await started(lab)
        ended = await container_id(lab, assignment)
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
    if not copied:
        shutil.rmtree(lab.copies)
    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    (tmp_path / point).write_text("raise")
    async with lab.runner(Dead(lab.docker, node=lab.node, node_name="here", copies=lab.copies, overlay=lab.overlay)):
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
    assert (tmp_path / f"{point}.hit").exists()
