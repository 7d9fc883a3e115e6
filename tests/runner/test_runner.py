"""Whole lives of sessions, on a real engine, with the real agent."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from docker import APIClient
from structlog.testing import capture_logs

from netvps.domain.overlay.peer_health import Link, LinkState, ProbeReport, ProbeRequest, Problem
from netvps.domain.runner.docker_names import container_name
from netvps.domain.runner.runner import LogRequest
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.runner.overlay.overlay import Overlay
from netvps.runner.runner import Runner
from tests.adapters.docker.overlay import OverlayNetwork
from tests.runner.lab import Lab, Until
from tests.runner.names import serving, udp_ask, udp_echo

pytestmark = pytest.mark.docker


async def test_a_session_starts_stops_and_comes_back_with_its_files(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")

        stop = lab.next(assignment, DesiredState.STOPPED)
        stopped = await lab.link.reported(stop, SessionState.STOPPED)
        assert stopped.last_exit is not None
        assert (stopped.last_exit.cause, stopped.last_exit.exit_code) == ("stopped", 0)
        kept = await lab.container(assignment)
        assert kept is not None
        assert kept["State"] == "exited"
        snapshot = lab.link.wanted[assignment.session_uid].snapshot
        assert snapshot is not None
        assert (snapshot.generation, snapshot.runner) == (stop.generation, "here")

        start = lab.next(assignment, DesiredState.RUNNING)
        await lab.link.reported(start, SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"

        gone = lab.next(assignment, DesiredState.DELETED)
        await lab.link.reported(gone, SessionState.DELETED)
        assert await lab.traces() == []
        assert list(lab.settings.run_dir.iterdir()) == []


async def test_a_session_on_the_default_network_reports_its_address(lab: Lab) -> None:
    assignment = lab.session(SessionSpec(image=lab.image, stop_grace=2.0))
    lab.link.assign(assignment)
    async with lab.runner():
        running = await lab.link.reported(assignment, SessionState.RUNNING)
        assert running.address.startswith("172.30.")
        gone = lab.next(assignment, DesiredState.DELETED)
        await lab.link.reported(gone, SessionState.DELETED)


async def test_losing_the_control_plane_stops_nothing_and_a_new_runner_goes_by_what_is_kept(
    lab: Lab, eventually: Until
) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        lab.link.hang_up(away=True)
    async with lab.runner():  # the control plane is still away, and the container dies
        await asyncio.to_thread(lab.api.kill, container_name(assignment.session_uid))

        async def runs_again() -> bool:
            found = await lab.container(assignment)
            return found is not None and found["State"] == "running"

        await eventually(runs_again)
        lab.link.reports.clear()
        lab.link.away = False
        again = await lab.link.reported(assignment, SessionState.RUNNING)
        assert again.generation == assignment.generation


async def test_agents_of_before_an_upgrade_go_once_no_container_mounts_them(lab: Lab, eventually: Until) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    folder = lab.settings.state_dir / "agent"
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
    (mounted,) = folder.iterdir()
    unused = folder / ("0" * 64)
    unused.mkdir()
    newer = lab.settings.run_dir / "newer"
    newer.write_bytes(lab.settings.agent.read_bytes() + b"\0")
    lab.settings = replace(lab.settings, agent=newer)
    async with lab.runner():

        async def gone() -> bool:
            return not unused.exists()

        await eventually(gone)
        assert mounted.exists()
        assert len(list(folder.iterdir())) == 2


@pytest.mark.netns  # root, that is
async def test_what_containerd_left_in_the_way_of_a_start_goes(lab: Lab, eventually: Until) -> None:
    """The folder of a shim that was killed before it had begun, and containerd with it."""
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
    shim = Path(f"/proc/{await lab.pid(assignment)}/stat").read_text().rpartition(")")[2].split()[1]
    folder = Path(f"/proc/{shim}/cwd").readlink()
    await asyncio.to_thread(lab.api.kill, container_name(assignment.session_uid))

    async def ended() -> bool:
        return not folder.exists()

    await eventually(ended)
    (folder / "rootfs").mkdir(parents=True)
    (folder / "address").touch()
    lab.link.reports.clear()
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def test_an_older_assignment_is_refused(lab: Lab) -> None:
    assignment = replace(lab.session(), epoch=2)
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        lab.link.assign(replace(assignment, epoch=1, generation=9, desired=DesiredState.DELETED))
        lab.link.request(
            LogRequest("after", assignment.session_uid, 1, follow=False)
        )  # comes after it on the same stream
        await lab.link.until(lambda: "after" in lab.link.logs)
        found = await lab.container(assignment)
        assert found is not None
        assert found["State"] == "running"


async def test_messages_that_come_three_times_change_nothing(lab: Lab) -> None:
    lab.link.repeating = 3
    async with lab.runner():
        await lab.link.until(lambda: lab.link.connections == 1)
        assignment = lab.session()
        lab.link.assign(assignment)
        await lab.link.reported(assignment, SessionState.RUNNING)
        stop = lab.next(assignment, DesiredState.STOPPED)
        await lab.link.reported(stop, SessionState.STOPPED)
        images = [name for name in await lab.traces() if "snapshot" in name]
        assert len(images) == 1


async def test_heartbeats_go_on(lab: Lab) -> None:
    async with lab.runner():
        await lab.link.until(lambda: lab.link.heartbeats >= 3)


async def test_how_often_connections_broke_before_the_last_welcome_is_forgotten(lab: Lab) -> None:
    """Else the pause before the next try grows for as long as the runner lives."""
    with capture_logs() as logged:
        async with lab.runner():
            for number in range(1, 4):
                await lab.link.until(lambda number=number: lab.link.connections == number)  # type: ignore[misc]
                lab.link.hang_up()
            await lab.link.until(lambda: lab.link.connections == 4)
    assert [line["failures"] for line in logged if "failures" in line] == [1, 1, 1]


async def test_heartbeats_go_on_while_a_commit_takes_its_time(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    began, may_go_on, commit = asyncio.Event(), threading.Event(), APIClient.commit
    loop = asyncio.get_running_loop()

    def slow(*arguments: Any, **options: Any) -> object:
        loop.call_soon_threadsafe(began.set)
        assert may_go_on.wait(60)
        return commit(*arguments, **options)

    monkeypatch.setattr(APIClient, "commit", slow)
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        stop = lab.next(assignment, DesiredState.STOPPED)
        try:
            await asyncio.wait_for(began.wait(), 60)
            before = lab.link.heartbeats
            await lab.link.until(lambda: lab.link.heartbeats >= before + 5)
            await lab.link.reported(stop, SessionState.STOPPED, "snapshot_pending")
        finally:
            may_go_on.set()
        await lab.link.reported(stop, SessionState.STOPPED)


async def test_what_no_assignment_ever_named_is_removed_after_a_grace(lab: Lab, eventually: Until) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
    del lab.link.wanted[assignment.session_uid]
    (lab.settings.state_dir / "assignments.json").unlink()
    async with lab.runner():

        async def nothing_left() -> bool:
            return await lab.traces() == []

        await eventually(nothing_left)


async def test_a_session_that_the_server_forgot_keeps_its_container(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        del lab.link.wanted[assignment.session_uid]  # as after a restore from an older backup
    async with lab.runner():
        await lab.link.until(lambda: lab.link.connections >= 2)
        await asyncio.sleep(4 * lab.settings.orphan_grace)
    assert await lab.container(assignment) is not None


async def test_nothing_is_an_orphan_before_all_assignments_were_sent(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
    lab.link.away = True
    (lab.settings.state_dir / "assignments.json").unlink()  # even if it forgot all it knew
    async with lab.runner():
        await asyncio.sleep(4 * lab.settings.orphan_grace)
    assert await lab.container(assignment) is not None


async def test_logs_of_a_running_and_of_a_stopped_session(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        lab.link.request(LogRequest("live", assignment.session_uid, 100, follow=True))
        await lab.link.until(lambda: b"agent" in lab.link.logs.get("live", b""))
        stop = lab.next(assignment, DesiredState.STOPPED)
        await lab.link.reported(stop, SessionState.STOPPED)
        lab.link.request(LogRequest("kept", assignment.session_uid, 100, follow=False))
        await lab.link.until(lambda: b"signal received" in lab.link.logs.get("kept", b""))
        lab.link.request(LogRequest("none", "0000000000000", 100, follow=False))
        await lab.link.until(lambda: "none" in lab.link.log_errors)
        assert "no logs" in lab.link.log_errors["none"]


async def test_sessions_of_an_owner_find_each_other_by_name(networked: tuple[Lab, OverlayNetwork]) -> None:
    """On one machine, over TCP and UDP; another owner's session of the same name is another one."""
    lab, overlay = networked
    web, db = (lab.session(name=name, address=overlay.address(n)) for n, name in enumerate(("web", "db")))
    bobs = replace(lab.session(name="web", address=overlay.address(2)), owner_id="bob")
    sessions = (web, db, bobs)
    async with serving(overlay, sessions), lab.runner():
        for assignment in sessions:
            lab.link.assign(assignment)
        for assignment in sessions:
            assert (await lab.link.reported(assignment, SessionState.RUNNING)).address == assignment.address
        assert await lab.run_in(db, "hostname") == "db\n"
        said = await lab.run_in(db, "cat", "/etc/resolv.conf")
        assert said == f"nameserver {overlay.bridge}\nsearch ann.nv.internal\n"

        await lab.run_in(web, "sh", "-c", "nc -ll -p 7070 -e /bin/hostname -i >/dev/null 2>&1 &")
        for name in ("web", "web.ann.nv.internal", "WEB.nv.internal"):
            assert await lab.run_in(db, "sh", "-c", f"nc {name} 7070 </dev/null") == f"{web.address}\n"
        assert "bad address 'db'" in await lab.run_in(bobs, "sh", "-c", "nc db 7070 </dev/null || true")
        assert "web.ann.nv.internal" in await lab.run_in(db, "nslookup", web.address)

        async with udp_echo(await lab.pid(web)) as port:
            assert await asyncio.to_thread(udp_ask, await lab.pid(db), "web", port) == f"hello from {db.address}"


async def address_after_death(lab: Lab, assignment: Assignment) -> str:
    """Of a session whose container died, once it runs again."""
    lab.link.reports.clear()
    await asyncio.to_thread(lab.api.kill, container_name(assignment.session_uid))
    await lab.link.until(lambda: any(report.last_exit for report in lab.link.reports))
    return (await lab.link.reported(assignment, SessionState.RUNNING)).address


async def test_a_session_that_comes_to_the_overlay_or_gets_another_address_is_moved_at_its_next_start(
    networked: tuple[Lab, OverlayNetwork],
) -> None:
    lab, overlay = networked
    assignment = lab.session(SessionSpec(image=lab.image, stop_grace=2.0))
    lab.link.assign(assignment)
    async with lab.runner():
        isolated = await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
        first = await lab.container(assignment)

        joined = replace(assignment, address=overlay.address(0), generation=2)
        lab.link.assign(joined)
        assert (await lab.link.reported(joined, SessionState.RUNNING)).address == isolated.address
        for moved in (joined, replace(joined, address=overlay.address(1), generation=3)):
            lab.link.assign(moved)
            await lab.link.reported(moved, SessionState.RUNNING)
            assert await address_after_death(lab, moved) == moved.address
            assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
            assert await lab.run_in(assignment, "hostname", "-i") == f"{moved.address}\n"
        last = await lab.container(assignment)
        assert first
        assert last
        assert first["Id"] == last["Id"]


async def test_session_waits_for_overlay_and_uses_recreated_one(
    networked: tuple[Lab, OverlayNetwork],
) -> None:
    lab, overlay = networked
    assignment = lab.session(address=overlay.address(0))
    lab.link.assign(assignment)
    overlay.remove()
    async with lab.runner():
        await lab.link.until(lambda: any("not ready on this runner" in report.message for report in lab.link.reports))
        assert lab.link.reports[-1].state is SessionState.STARTING
        assert overlay.make() == ""
        assert (await lab.link.reported(assignment, SessionState.RUNNING)).address == assignment.address
    await asyncio.to_thread(lab.api.kill, container_name(assignment.session_uid))
    overlay.remove()  # docker network prune does that
    assert overlay.make() == ""
    lab.link.reports.clear()
    async with lab.runner():
        assert (await lab.link.reported(assignment, SessionState.RUNNING)).address == assignment.address


async def test_leaving_the_overlay_leaves_a_session_with_names(networked: tuple[Lab, OverlayNetwork]) -> None:
    lab, overlay = networked
    assignment = lab.session(address=overlay.address(0))
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        left = replace(assignment, address="", generation=2)
        lab.link.assign(left)
        await lab.link.reported(left, SessionState.RUNNING)
        assert (await address_after_death(lab, left)).startswith("172.30.")
        assert "nameserver 127.0.0.11" in await lab.run_in(assignment, "cat", "/etc/resolv.conf")
        await lab.link.reported(lab.next(left, DesiredState.DELETED), SessionState.DELETED)
        assert list(lab.settings.run_dir.iterdir()) == []


async def test_who_asks_for_links_is_answered_in_any_case(lab: Lab) -> None:
    """Here by a runner without an overlay."""
    async with lab.runner():
        await lab.link.until(lambda: lab.link.connections > 0)
        lab.link.request(ProbeRequest("p1", ("somebody",)))
        await lab.link.until(lambda: lab.link.probes == [ProbeReport("p1", ())])


class Measuring:
    """An overlay that takes its time."""

    problems = (Problem("link degraded", "r2"),)
    underlay, generation, digest = None, 0, ""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def probe(self, peers: tuple[str, ...]) -> tuple[Link, ...]:
        await self.go.wait()
        return tuple(Link(peer, LinkState.UP, 0.1, 1450) for peer in peers)


async def test_links_are_measured_for_few_at_once_and_problems_are_reported(lab: Lab) -> None:
    overlay = Measuring()
    runner = Runner(lab.link, lab.engine, lab.settings, cast("Overlay", overlay))
    assert runner._beat().problems == overlay.problems
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(runner._probe(ProbeRequest(f"p{number}", ("r2",))))
        await asyncio.sleep(0)
        assert runner._board.pop() == ProbeReport("p2", ())
        overlay.go.set()
    measured = (Link("r2", LinkState.UP, 0.1, 1450),)
    assert [runner._board.pop() for _ in range(2)] == [ProbeReport("p0", measured), ProbeReport("p1", measured)]
