"""Orders for snapshots on the real engine: taken, restored in place, cloned, removed; and what fails on the way.

So it is the test of netvps.adapters.docker.files.hooks, too.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.errors import DiskFull
from netvps.domain.runner.docker_names import container_name
from netvps.domain.session.session import Assignment, DesiredState, SessionReport, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.domain.snapshot.copies import CopyReport
from netvps.domain.snapshot.diff import DiffOrder, DiffScope
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.snapshot import (
    Restore,
    RestoreResult,
    RestoreState,
    SnapshotOrder,
    SnapshotResult,
    SnapshotSource,
    SnapshotState,
)
from netvps.runner.snapshot_orders import FETCHED_AGAIN
from tests.rpc.site import soon
from tests.runner.lab import Lab
from tests.support.images import busybox_archive

pytestmark = pytest.mark.docker
RUNNING, STOPPED = DesiredState.RUNNING, DesiredState.STOPPED
ONE, TWO = "0000000000001", "0000000000002"
# What an image would lose: a hole, a hard link, a time to the nanosecond, and a file that deletes its sibling there.
WRITES = (
    "cd /root && echo kept > file && echo notes > .wh.file && ln file twin && touch -d @1 file"
    " && dd if=/dev/null of=hole bs=1M seek=1048576 2>/dev/null"
)
LOOKS = "cd /root && cat file .wh.file && stat -c '%h %s %Y' file && stat -c %s hole"
SEEN = "kept\nnotes\n2 5 1\n1099511627776\n"


class Engine(DockerEngine):
    """One whose snapshots fail, or wait, as a test wants."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab.docker, node=lab.node, node_name="here", copies=lab.copies, overlay=lab.overlay)
        self.full = False
        self.begun, self.go_on = threading.Event(), asyncio.Event()
        self.go_on.set()

    async def take_snapshot(self, *arguments: Any) -> bool:
        if self.full:
            raise DiskFull("the snapshot needs 9 MiB and 1 MiB are free", reason="DISK_FULL")
        self.begun.set()
        await self.go_on.wait()
        return await super().take_snapshot(*arguments)


# A database that has its latest row in memory until it is flushed, and a hook that fails.
HOOKS = """mkdir -p /etc/netvps/hooks/pre-snapshot.d /etc/netvps/hooks/post-restore.d && cd /etc/netvps/hooks
printf '#!/bin/sh\\ncat /dev/shm/row >>/root/db && echo flushed the database\\n' >pre-snapshot.d/10-db
printf '#!/bin/sh\\nexit 3\\n' >pre-snapshot.d/20-broken
printf '#!/bin/sh\\necho "$NETVPS_RESTORED" >>/root/db; echo recovered the database\\n' >post-restore.d/10-db
chmod +x */* && echo row >/dev/shm/row"""


async def _started(lab: Lab) -> Assignment:
    assignment = lab.session()
    lab.link.assign(assignment)
    await lab.link.reported(assignment, SessionState.RUNNING)
    await lab.run_in(assignment, "sh", "-c", WRITES)
    return assignment


async def _result(lab: Lab, assignment: Assignment, uid: str, *states: SnapshotState) -> SnapshotResult:
    """The latest result of an order, once there is one, or one of these states."""
    meant = lambda one: one.uid == uid and (not states or one.state in states)  # noqa: E731
    results = await _report(lab, assignment, lambda report: any(map(meant, report.snapshots)))
    return next(result for result in results.snapshots if result.uid == uid)


async def _report(lab: Lab, assignment: Assignment, holds: Callable[[SessionReport], bool]) -> SessionReport:
    def found() -> list[SessionReport]:
        own = [report for report in lab.link.reports if report.session_uid == assignment.session_uid]
        return own[-1:] if own and holds(own[-1]) else []

    await lab.link.until(lambda: bool(found()))
    return found()[0]


def _order(lab: Lab, assignment: Assignment, *orders: SnapshotOrder) -> Assignment:
    """What the control plane would send next."""
    ordered = replace(lab.link.wanted[assignment.session_uid], snapshot_orders=orders)
    lab.link.assign(ordered)
    return ordered


async def _taken(lab: Lab, assignment: Assignment, uid: str = ONE) -> SnapshotResult:
    _order(lab, assignment, SnapshotOrder(uid))
    result = await _result(lab, assignment, uid)
    assert result.state is SnapshotState.READY, result.message
    _order(lab, assignment)
    return result


def _revert(lab: Lab, assignment: Assignment) -> Restore:
    """A restore of ONE in place; what it replaces becomes TWO."""
    restore = Restore("0000000000009", ONE, TWO, datetime.now(UTC))
    known = lab.link.wanted[assignment.session_uid]
    orders = (SnapshotOrder(TWO),)
    lab.link.assign(replace(known, restore=restore, snapshot_orders=orders, generation=known.generation + 1))
    return restore


def _files(lab: Lab) -> list[str]:
    return sorted(path.name for path in (lab.copies / "snapshots").glob("*"))


async def test_a_running_session_goes_on_after_its_snapshot(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        pid = await lab.pid(assignment)
        result = await _taken(lab, assignment)
        assert result.size_bytes > 0
        report = await lab.link.reported(assignment, SessionState.RUNNING)
        assert all(r.state is not SessionState.PAUSED for r in lab.link.reports), report
        assert await lab.run_in(assignment, "sh", "-c", LOOKS) == SEEN
        assert await lab.pid(assignment) == pid
        assert _files(lab) == [f"{assignment.session_uid}-{ONE}.json", f"{assignment.session_uid}-{ONE}.tar"]
        _order(lab, assignment, SnapshotOrder(ONE, delete=True))
        await _result(lab, assignment, ONE, SnapshotState.DELETING)
        assert _files(lab) == []


async def test_the_snapshot_of_a_stop_is_the_copy_by_another_name(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        await lab.run_in(assignment, "rm", "/root/.wh.file", "/root/hole")  # else there is no image
        stopped = lab.next(assignment, STOPPED)
        await lab.link.reported(stopped, SessionState.STOPPED)
        recorded = next(report for report in lab.link.reports if report.snapshot)
        assert recorded.snapshot is not None
        (kept,) = recorded.snapshots
        assert (kept.uid, kept.state) == (recorded.snapshot.uid, SnapshotState.READY)
        archive = lab.copies / "snapshots" / f"{assignment.session_uid}-{kept.uid}.tar"
        assert archive.stat().st_nlink == 2
        await _taken(lab, assignment)
        assert archive.stat().st_nlink == 3


async def test_a_restore_replaces_nothing_that_is_not_saved(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        await _taken(lab, assignment)
        await lab.run_in(assignment, "sh", "-c", "echo changed > /root/file; rm /root/hole")
        restore = _revert(lab, assignment)
        done = RestoreResult(restore.uid, RestoreState.DONE)
        await _report(lab, assignment, lambda r: r.restore == done and r.state is SessionState.RUNNING)
        assert await lab.run_in(assignment, "sh", "-c", LOOKS) == SEEN
        assert (await _result(lab, assignment, TWO)).state is SnapshotState.READY
        # And back: what was replaced is there.
        again = Restore("000000000000a", TWO, "0000000000003", datetime.now(UTC))
        known = lab.link.wanted[assignment.session_uid]
        orders = (SnapshotOrder("0000000000003"),)
        lab.link.assign(replace(known, restore=again, snapshot_orders=orders, generation=known.generation + 1))
        done = RestoreResult(again.uid, RestoreState.DONE)
        await _report(lab, assignment, lambda r: r.restore == done and r.state is SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "changed\n"


async def test_a_restored_session_that_stays_stopped_loses_nothing_to_a_prune(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        await _taken(lab, assignment)
        await lab.run_in(assignment, "rm", "/root/.wh.file", "/root/hole")
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        restore = _revert(lab, assignment)
        done = RestoreResult(restore.uid, RestoreState.DONE)
        await _report(lab, assignment, lambda r: r.restore == done and r.state is SessionState.STOPPED)
        await asyncio.to_thread(lambda: lab.api.remove_container(container_name(assignment.session_uid)))
        known = replace(lab.link.wanted[assignment.session_uid], restore=None, snapshot_orders=())
        lab.link.assign(known)
        started = lab.next(assignment, RUNNING)
        await lab.link.reported(started, SessionState.RUNNING)
        assert await lab.run_in(assignment, "sh", "-c", LOOKS) == SEEN


async def test_a_damaged_snapshot_is_not_restored_and_the_session_runs_on(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        await _taken(lab, assignment)
        await lab.run_in(assignment, "sh", "-c", "echo changed > /root/file")
        archive = lab.copies / "snapshots" / f"{assignment.session_uid}-{ONE}.tar"
        archive.write_bytes(archive.read_bytes()[:-1] + b"x")
        restore = _revert(lab, assignment)
        report = await _report(lab, assignment, lambda r: r.restore is not None and r.state is SessionState.RUNNING)
        assert report.restore is not None
        assert (report.restore.uid, report.restore.state) == (restore.uid, RestoreState.FAILED)
        assert "is damaged: its checksum does not match" in report.restore.message
        assert await lab.run_in(assignment, "cat", "/root/file") == "changed\n"


async def test_without_room_a_snapshot_fails_with_figures_and_nothing_is_replaced(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await _started(lab)
        await _taken(lab, assignment)
        engine.full = True
        _order(lab, assignment, SnapshotOrder(TWO))
        failed = await _result(lab, assignment, TWO)
        assert (failed.state, failed.reason) == (SnapshotState.FAILED, "disk")
        assert failed.message == "the snapshot needs 9 MiB and 1 MiB are free"
        await lab.link.reported(assignment, SessionState.RUNNING)
        _order(lab, assignment)
        _revert(lab, assignment)
        report = await _report(lab, assignment, lambda r: r.restore is not None and r.state is SessionState.RUNNING)
        assert report.restore is not None
        assert report.restore.state is RestoreState.FAILED
        assert "the present state could not be saved" in report.restore.message


async def test_a_stop_does_not_wait_for_a_snapshot_which_is_taken_of_the_stopped_container(lab: Lab) -> None:
    engine = Engine(lab)
    async with lab.runner(engine):
        assignment = await _started(lab)
        await lab.run_in(assignment, "rm", "/root/.wh.file", "/root/hole")
        engine.go_on.clear()
        _order(lab, assignment, SnapshotOrder(ONE))
        assert await asyncio.to_thread(engine.begun.wait, 30)
        stopped = lab.next(assignment, STOPPED)
        await lab.link.until(lambda: any(r.state is SessionState.STOPPED for r in lab.link.reports))
        engine.go_on.set()
        await lab.link.reported(stopped, SessionState.STOPPED)
        assert (await _result(lab, assignment, ONE)).state is SnapshotState.READY


async def test_a_clone_has_the_files_and_its_own_machine_id(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        await lab.run_in(assignment, "sh", "-c", "echo 0123456789abcdef0123456789abcdef > /etc/machine-id")
        await _taken(lab, assignment)
        clone = replace(lab.session(name="dev2"), source=SnapshotSource(ONE, assignment.session_uid))
        lab.link.assign(clone)
        await lab.link.reported(clone, SessionState.RUNNING)
        assert await lab.run_in(clone, "sh", "-c", LOOKS) == SEEN
        machine_id = (await lab.run_in(clone, "cat", "/etc/machine-id")).strip()
        assert len(machine_id) == 32
        assert machine_id != "0123456789abcdef0123456789abcdef"
        assert await lab.run_in(clone, "hostname") == "dev2\n"


async def test_damage_that_a_start_finds_is_reported_and_another_machines_files_are_used(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        await lab.run_in(assignment, "rm", "/root/.wh.file", "/root/hole")  # else there is no image
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await _taken(lab, assignment)
        note, archive = (lab.copies / "snapshots" / name for name in _files(lab) if ONE in name)
        sound = (archive.read_bytes(), note.read_bytes())

        def damage() -> None:
            with archive.open("r+b") as content:  # under all of its names
                content.seek(700)
                content.write(b"xx")

        async def repaired(session: Assignment, *, reports: int) -> None:
            def said() -> list[CopyReport]:
                return [report for report in lab.link.copies if report.snapshot == ONE]

            await lab.link.until(lambda: len(said()) == reports)
            report = said()[-1]
            assert (report.session, report.damaged) == (assignment.session_uid, lab.node)
            assert "is damaged: its checksum does not match" in report.message
            await lab.link.until(lambda: lab.link.reports[-1].message == FETCHED_AGAIN)
            archive.with_suffix(".new").write_bytes(sound[0])  # as a copy of another runner does
            archive.with_suffix(".new").replace(archive)
            note.write_bytes(sound[1])
            await lab.link.reported(session, SessionState.RUNNING)
            assert await lab.run_in(session, "cat", "/root/file") == "kept\n"

        saved = lab.link.wanted[assignment.session_uid].snapshot
        assert saved is not None
        await asyncio.to_thread(damage)
        await asyncio.to_thread(lab.api.remove_container, container_name(assignment.session_uid))
        await asyncio.to_thread(lab.api.remove_image, saved.image, force=True)
        await repaired(lab.next(assignment, RUNNING), reports=1)  # neither is its copy: that was the same file
        await asyncio.to_thread(damage)
        clone = replace(lab.session(name="dev2"), source=SnapshotSource(ONE, assignment.session_uid))
        lab.link.assign(clone)
        await repaired(clone, reports=2)


async def test_hooks_run_before_a_snapshot_and_after_a_restore_and_a_clone(lab: Lab) -> None:
    async def said(of: Assignment, words: str) -> bool:
        return words in await asyncio.to_thread(lambda: lab.api.logs(container_name(of.session_uid)).decode())

    async with lab.runner():
        assignment = await _started(lab)
        await lab.run_in(assignment, "sh", "-c", HOOKS)
        taken = await _taken(lab, assignment)
        assert taken.warnings == ("pre-snapshot hook 20-broken: exit status 3",)
        assert await said(assignment, "flushed the database")
        clone = replace(lab.session(name="dev2"), source=SnapshotSource(ONE, assignment.session_uid))
        lab.link.assign(clone)
        await lab.link.reported(clone, SessionState.RUNNING)
        await soon(lambda: said(clone, "hook ran"), 30)
        assert await lab.run_in(clone, "cat", "/root/db") == "row\nclone\n"
        restore = _revert(lab, assignment)
        done = RestoreResult(restore.uid, RestoreState.DONE)
        await _report(lab, assignment, lambda r: r.restore == done and r.state is SessionState.RUNNING)
        await soon(lambda: said(assignment, "recovered the database"), 30)
        assert await lab.run_in(assignment, "cat", "/root/db") == "row\nrestore\n"


async def test_a_clone_is_never_made_from_the_plain_image(lab: Lab) -> None:
    async with lab.runner():
        clone = replace(lab.session(), source=SnapshotSource(ONE, TWO))
        lab.link.assign(clone)
        report = await lab.link.reported(clone, SessionState.FAILED, "snapshot")
        assert "the snapshot that it was cloned from is not on this machine any more" in report.message
        await lab.link.until(lambda: [one.damaged for one in lab.link.copies] == [lab.node])


async def test_with_a_session_its_snapshots_go(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
        await _taken(lab, assignment)
        assert assignment.session_uid in await lab.engine.owned()
        await lab.link.reported(lab.next(assignment, DesiredState.DELETED), SessionState.DELETED)
        assert _files(lab) == []
        assert assignment.session_uid not in await lab.engine.owned()


async def test_a_pause_that_a_killed_runner_left_is_lifted_and_the_snapshot_is_taken(lab: Lab) -> None:
    async with lab.runner():
        assignment = await _started(lab)
    name = container_name(assignment.session_uid)
    part = Path(lab.copies / "snapshots" / f"{assignment.session_uid}-{ONE}.tar.1.part")

    def crash() -> None:
        lab.api.pause(name)
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(b"half")

    await asyncio.to_thread(crash)
    _order(lab, assignment, SnapshotOrder(ONE))
    async with lab.runner():
        assert (await _result(lab, assignment, ONE)).state is SnapshotState.READY
        await lab.link.reported(assignment, SessionState.RUNNING)
        assert await lab.run_in(assignment, "sh", "-c", LOOKS) == SEEN
        assert not part.exists()


async def test_volumes_of_the_image_are_in_a_snapshot_and_come_back_with_it(lab: Lab) -> None:
    """And what a session excludes in them is not."""
    image = f"netvps-test-{secrets.token_hex(4)}"
    changes = ["VOLUME /data"]
    await asyncio.to_thread(
        lambda: lab.api.import_image_from_data(busybox_archive(), repository=image, tag="1", changes=changes)
    )
    try:
        async with lab.runner():
            policy = SnapshotPolicy(("/data/cache",))
            spec = SessionSpec(image=f"{image}:1", network=Network.NONE, stop_grace=2.0, snapshot_policy=policy)
            assignment = lab.session(spec)
            lab.link.assign(assignment)
            await lab.link.reported(assignment, SessionState.RUNNING)
            await lab.run_in(assignment, "sh", "-c", "mkdir /data/cache; echo kept >/data/file; echo x >/data/cache/y")
            result = await _taken(lab, assignment)
            assert result.warnings == ("it leaves out what is below /data/cache, as the session asks",)
            await lab.run_in(assignment, "sh", "-c", "echo changed >/data/file; echo new >/data/new")
            restore = _revert(lab, assignment)
            done = RestoreResult(restore.uid, RestoreState.DONE)
            await _report(lab, assignment, lambda r: r.restore == done and r.state is SessionState.RUNNING)
            assert await lab.run_in(assignment, "sh", "-c", "cat /data/file; ls /data /data/cache") == (
                "kept\n/data:\ncache\nfile\n\n/data/cache:\n"
            )
            order = DiffOrder(ONE, TWO, DiffScope())
            diff = await lab.engine.diff(assignment.session_uid, order)
            assert {(one.path, one.kind.value) for one in diff.paths} == {
                ("/data/file", "CHANGED"),
                ("/data/new", "ADDED"),
            }
    finally:
        await lab.sweep()
        await asyncio.to_thread(lambda: lab.api.remove_image(f"{image}:1", force=True))
