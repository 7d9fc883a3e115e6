"""Steps for what no container can change: GPUs, the limit of its disk, and files of lxcfs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from netvps.domain.session import plan, steps
from netvps.domain.session.container import Seen, Status
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from tests.domain.session.test_plan import COPIED, READABLE, RUNNING, SOURCE, STOPPED
from tests.domain.world_of_plan import want

GPU_ONE = replace(READABLE, gpus=("GPU-1",))
WITH_LXCFS = replace(READABLE, lxcfs=True)
OTHER_DISK = replace(READABLE, disk_bytes=1 << 30)
HAS_GPUS = frozenset({"GPU-1", "GPU-2"})


def wants_gpu(number: int, desired: DesiredState = RUNNING) -> Assignment:
    return replace(want(desired), gpus=(f"GPU-{number}",))


@pytest.mark.parametrize(
    ("wanted", "seen", "step"),
    [
        (wants_gpu(1), Seen(GPU_ONE, gpus=HAS_GPUS), steps.Start(GPU_ONE)),
        (wants_gpu(1), Seen(GPU_ONE), steps.Start(GPU_ONE)),  # the driver has not answered yet
        (wants_gpu(2), Seen(GPU_ONE, gpus=HAS_GPUS), steps.Copy(GPU_ONE)),
        (wants_gpu(2), Seen(GPU_ONE, files=COPIED, gpus=HAS_GPUS), steps.Restore(COPIED, GPU_ONE)),
        (
            wants_gpu(2, STOPPED),
            Seen(replace(GPU_ONE, files="")),
            steps.Commit(replace(GPU_ONE, files=""), flatten=False),
        ),
        (want(RUNNING), Seen(GPU_ONE, gpus=HAS_GPUS), steps.Copy(GPU_ONE)),
        (want(RUNNING), Seen(WITH_LXCFS, lxcfs=True), steps.Start(WITH_LXCFS)),
        (want(RUNNING), Seen(WITH_LXCFS), steps.Copy(WITH_LXCFS)),
        (want(RUNNING), Seen(READABLE, lxcfs=True), steps.Start(READABLE)),  # one without lxcfs is kept
        (want(RUNNING), Seen(OTHER_DISK), steps.Copy(OTHER_DISK)),
        (want(RUNNING), Seen(OTHER_DISK, files=COPIED), steps.Restore(COPIED, OTHER_DISK)),
        (want(RUNNING), Seen(replace(OTHER_DISK, files="")), steps.Start(replace(OTHER_DISK, files=""))),
        (want(RUNNING), Seen(OTHER_DISK, cannot_make="no"), steps.Start(OTHER_DISK)),
    ],
)
def test_a_container_that_cannot_change_is_made_again_at_its_start(
    wanted: Assignment, seen: Seen, step: steps.Step
) -> None:
    assert plan.next_step(wanted, seen) == step


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Seen(replace(GPU_ONE, files="")), "its files cannot be copied here, which needs a runner as root"),
        (Seen(GPU_ONE, cannot_make="Docker refused"), "its container was made with other GPUs, so .*: Docker refused$"),
        (Seen(GPU_ONE, gpus=frozenset({"GPU-1"})), "GPU-2 is gone from its machine; start the session again to get"),
        (Seen(gpus=frozenset(), source=SOURCE), "GPU-2 is gone from its machine"),
    ],
)
def test_a_container_never_starts_with_gpus_that_are_not_its_own(seen: Seen, why: str) -> None:
    step = plan.next_step(wants_gpu(2), seen)
    assert isinstance(step, steps.Refuse)
    assert re.search(why, step.message)


def test_a_running_session_says_that_its_gpu_is_gone() -> None:
    runs = replace(GPU_ONE, status=Status.RUNNING)
    step = plan.next_step(wants_gpu(1), Seen(runs, gpus=frozenset({"GPU-2"})))
    assert step == steps.Rest(
        SessionState.RUNNING,
        "172.30.0.2",
        runs,
        "gpu",
        "GPU-1 is gone from its machine; stop and start it to get another one",
    )
