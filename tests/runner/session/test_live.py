"""Pauses, limits and ends of containers, on a real engine, with the real agent."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import replace
from typing import Any

import docker.errors
import pytest

from netvps.adapters.docker.errors import ContainerFailed
from netvps.domain.runner.docker_names import container_name
from netvps.domain.session.container import Container
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.session.spec import Network, RestartPolicy, SessionSpec
from tests.runner.lab import Lab
from tests.support.images import busybox_archive

pytestmark = pytest.mark.docker

PAUSED, RUNNING, STOPPED, DELETED = (
    DesiredState.PAUSED, DesiredState.RUNNING, DesiredState.STOPPED, DesiredState.DELETED,
)  # fmt: skip


async def inspected(lab: Lab, assignment: Assignment) -> dict[str, Any]:
    found: dict[str, Any] = await asyncio.to_thread(
        lambda: lab.api.inspect_container(container_name(assignment.session_uid))
    )
    return found


async def kill(lab: Lab, assignment: Assignment) -> None:
    await asyncio.to_thread(lambda: lab.api.kill(container_name(assignment.session_uid), "SIGKILL"))


def resized(lab: Lab, assignment: Assignment, **limits: float) -> Assignment:
    """The next generation, with other limits."""
    known = lab.link.wanted[assignment.session_uid]
    changed = replace(known, spec=replace(known.spec, **limits), generation=known.generation + 1)  # type: ignore[arg-type]
    lab.link.assign(changed)
    return changed


async def test_a_paused_session_is_frozen_and_goes_on_where_it_was(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        before = await inspected(lab, assignment)
        paused = lab.next(assignment, PAUSED)
        await lab.link.reported(paused, SessionState.PAUSED)
        assert (await inspected(lab, assignment))["State"]["Status"] == "paused"
        assert (lab.settings.run_dir / assignment.session_uid / "tunnel.sock").is_socket()
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        after = await inspected(lab, assignment)
        assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
        assert after["State"]["Pid"] == before["State"]["Pid"]


@pytest.mark.parametrize("desired", [RUNNING, STOPPED, DELETED])
async def test_the_next_runner_adopts_a_paused_session(lab: Lab, desired: DesiredState) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        paused = lab.next(assignment, PAUSED)
        await lab.link.reported(paused, SessionState.PAUSED)
    lab.link.reports.clear()
    async with lab.runner():
        await lab.link.reported(paused, SessionState.PAUSED)
        await lab.link.reported(lab.next(assignment, desired), SessionState(desired))
    if desired is DELETED:
        assert await lab.traces() == []


async def test_an_engine_that_cannot_pause_is_explained_and_the_session_runs_on(lab: Lab) -> None:
    attempts = []

    async def refuse(container: Container) -> None:
        attempts.append(container.id)
        raise ContainerFailed(f"container {container.id[:12]}: no freezer cgroup")

    assignment = lab.session()
    lab.link.assign(assignment)
    lab.engine.pause = refuse
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        for asked in (1, 2):
            paused = lab.next(assignment, PAUSED)
            failed = await lab.link.reported(paused, SessionState.RUNNING, "pause_failed")
            assert "it runs on, because it cannot be paused: container" in failed.message
            assert len(attempts) == asked
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)


async def test_a_paused_session_whose_container_is_killed_is_stopped_with_its_files(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
        paused = lab.next(assignment, PAUSED)
        await lab.link.reported(paused, SessionState.PAUSED)
        await kill(lab, assignment)
        stopped = await lab.link.reported(replace(paused, generation=paused.generation + 1), SessionState.STOPPED)
        assert stopped.last_exit is not None
        assert stopped.last_exit.cause == "killed"
        ended = [report for report in lab.link.reports if report.reason == "ended"]
        assert ended[0].message == "its container ended while it was paused; its files are kept"
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def test_limits_change_without_a_restart_and_outlive_stops_and_a_new_container(lab: Lab) -> None:
    def limits(found: dict[str, Any]) -> tuple[int, int, int, int]:
        config = found["HostConfig"]
        return config["NanoCpus"], config["Memory"], config["MemorySwap"], config["PidsLimit"]

    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        before = await inspected(lab, assignment)
        await lab.link.reported(
            resized(lab, assignment, cpus=0.5, memory_bytes=256 << 20, pids=77), SessionState.RUNNING
        )
        after = await inspected(lab, assignment)
        assert limits(after) == (500_000_000, 256 << 20, 256 << 20, 77)
        assert (after["Id"], after["State"]["StartedAt"]) == (before["Id"], before["State"]["StartedAt"])
        pids = "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max"
        assert await lab.run_in(assignment, "sh", "-c", pids) == "77\n"
        await lab.link.reported(lab.next(assignment, PAUSED), SessionState.PAUSED)
        await lab.link.reported(resized(lab, assignment, memory_bytes=512 << 20), SessionState.PAUSED)
        assert limits(await inspected(lab, assignment))[1] == 512 << 20
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await lab.link.reported(resized(lab, assignment, pids=99), SessionState.STOPPED)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        again = await inspected(lab, assignment)
        assert (again["Id"], limits(again)) == (before["Id"], (500_000_000, 512 << 20, 512 << 20, 99))
        await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
        await asyncio.to_thread(lambda: lab.api.remove_container(container_name(assignment.session_uid)))
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert limits(await inspected(lab, assignment)) == limits(again)
        await lab.link.reported(resized(lab, assignment, cpus=0.0, memory_bytes=0), SessionState.RUNNING)
        machine = await lab.docker.machine()
        nano, memory, *_ = limits(await inspected(lab, assignment))
        assert (nano, memory) == (round(machine.cpus * 1e9), machine.memory_bytes)  # Docker cannot lift a limit


async def test_limits_below_what_is_in_use_are_refused_with_figures(lab: Lab) -> None:
    assignment = lab.session(SessionSpec(image=lab.image, network=Network.NONE, stop_grace=2.0, shm_bytes=64 << 20))
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        await lab.run_in(assignment, "dd", "if=/dev/zero", "of=/dev/shm/full", "bs=1M", "count=48")
        small = resized(lab, assignment, memory_bytes=32 << 20)
        refused = await lab.link.reported(small, SessionState.RUNNING, "resize_refused")
        assert "MiB of memory are in use, more than the new limit of 32 MiB" in refused.message
        assert (await inspected(lab, assignment))["HostConfig"]["Memory"] == 0
        lab.link.assign(replace(small, spec=assignment.spec))  # the control plane goes back to the old ones
        await lab.link.reported(small, SessionState.RUNNING)
        await lab.run_in(assignment, "sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 99 & done")
        refused = await lab.link.reported(resized(lab, assignment, pids=16), SessionState.RUNNING, "resize_refused")
        assert "processes and threads are running, more than the new limit of 16" in refused.message


@pytest.mark.parametrize("policy", [RestartPolicy.NEVER, RestartPolicy.ON_FAILURE])
async def test_a_container_that_ends_by_itself_stays_down_if_its_policy_says_so(
    lab: Lab, policy: RestartPolicy
) -> None:
    limit = 1 if policy is RestartPolicy.ON_FAILURE else 0
    spec = SessionSpec(image=lab.image, network=Network.NONE, stop_grace=2.0, restart_policy=policy, max_restarts=limit)
    assignment = lab.session(spec)
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        for _ in range(limit):
            pid = await lab.pid(assignment)
            await kill(lab, assignment)
            await lab.link.until(lambda: lab.link.reports[-1].state is SessionState.STARTING)
            await lab.link.reported(assignment, SessionState.RUNNING)
            assert await lab.pid(assignment) != pid
        await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
        lab.link.hang_up(away=True)
        await kill(lab, assignment)
    lab.link.reports.clear()
    lab.link.away = False
    async with lab.runner():  # it was down when the container ended, and knows all the same that it may not start it
        stopped = await lab.link.reported(replace(assignment, generation=2), SessionState.STOPPED)
        assert stopped.last_exit is not None
        assert stopped.last_exit.exit_code == 137
        assert SessionState.STARTING not in {report.state for report in lab.link.reports}
        assert any("its restart policy" in report.message for report in lab.link.reports)
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def stopped_with_file(lab: Lab, assignment: Assignment) -> None:
    lab.link.assign(assignment)
    await lab.link.reported(assignment, SessionState.RUNNING)
    await lab.run_in(assignment, "sh", "-c", "echo kept > /root/file")
    await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)


async def test_a_kept_container_that_was_started_by_hand_is_stopped_again_with_its_files(lab: Lab) -> None:
    assignment = lab.session()
    async with lab.runner():
        await stopped_with_file(lab, assignment)
        await asyncio.to_thread(lambda: lab.api.start(container_name(assignment.session_uid)))
        await lab.link.until(lambda: lab.link.reports[-1].state is SessionState.STOPPING)
        await lab.link.reported(lab.link.wanted[assignment.session_uid], SessionState.STOPPED)
        assert not (await inspected(lab, assignment))["State"]["Running"]
        await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
        assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"


async def test_a_kept_container_that_was_renamed_by_hand_is_replaced_with_its_files(lab: Lab) -> None:
    assignment = lab.session()
    other = f"nvt-{assignment.session_uid}"
    async with lab.runner():
        await stopped_with_file(lab, assignment)
        await asyncio.to_thread(lambda: lab.api.rename(container_name(assignment.session_uid), other))
        try:
            await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
            assert await lab.run_in(assignment, "cat", "/root/file") == "kept\n"
        finally:
            await asyncio.to_thread(lambda: lab.api.remove_container(other, force=True))


async def test_a_kept_container_whose_image_was_removed_starts_and_stops_with_its_files(lab: Lab) -> None:
    """By force (docker rmi -f): Docker keeps images of containers otherwise. The image is beside the copy, too."""
    image = f"netvps-test-{secrets.token_hex(4)}:1"
    name, _, tag = image.partition(":")
    await asyncio.to_thread(lambda: lab.api.import_image_from_data(busybox_archive(), repository=name, tag=tag))
    image_id = await asyncio.to_thread(lambda: lab.api.inspect_image(image)["Id"])
    assignment = lab.session(SessionSpec(image=image, network=Network.NONE, stop_grace=2.0))

    def remove_images() -> None:
        taken = lab.link.wanted[assignment.session_uid].snapshot
        assert taken is not None
        for one in (taken.image, image_id):
            lab.api.remove_image(one, force=True)

    try:
        async with lab.runner():
            await stopped_with_file(lab, assignment)
            for file in ("second", "third"):
                await asyncio.to_thread(remove_images)
                await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
                await lab.run_in(assignment, "touch", f"/root/{file}")
                await lab.link.reported(lab.next(assignment, STOPPED), SessionState.STOPPED)
            await asyncio.to_thread(lambda: lab.api.remove_container(container_name(assignment.session_uid)))
            await lab.link.reported(lab.next(assignment, RUNNING), SessionState.RUNNING)
            assert await lab.run_in(assignment, "ls", "/root") == "file\nsecond\nthird\n"
    finally:
        await lab.sweep()
        with suppress(docker.errors.ImageNotFound):  # it went with the last image that was made of it
            await asyncio.to_thread(lambda: lab.api.remove_image(image_id, force=True))
