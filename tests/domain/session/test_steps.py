"""Steps for what no container can change: GPUs, the limit of its disk, and files of lxcfs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from netvps.domain.session import plan, steps
from netvps.domain.session.container import Observed, SavedImage, Status
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from tests.domain.session.test_plan import COPIED, HELD, READABLE, RUNNING, SOURCE, STOPPED
from tests.domain.world_of_plan import assignment

GPU_ONE = replace(READABLE, gpus=("GPU-1",))
WITH_LXCFS = replace(READABLE, lxcfs=True)
OTHER_DISK = replace(READABLE, disk_bytes=1 << 30)
HAS_GPUS = frozenset({"GPU-1", "GPU-2"})


def wants_gpu(number: int, desired: DesiredState = RUNNING) -> Assignment:
    return replace(assignment(desired), gpus=(f"GPU-{number}",))


@pytest.mark.parametrize(
    ("wanted", "observed", "step"),
    [
        (wants_gpu(1), Observed(GPU_ONE, gpus=HAS_GPUS), steps.Start(GPU_ONE)),
        (wants_gpu(1), Observed(GPU_ONE), steps.Start(GPU_ONE)),  # the driver has not answered yet
        (wants_gpu(2), Observed(GPU_ONE, gpus=HAS_GPUS), steps.Copy(GPU_ONE)),
        (wants_gpu(2), Observed(GPU_ONE, files=COPIED, gpus=HAS_GPUS), steps.Restore(COPIED, GPU_ONE)),
        (
            wants_gpu(2, STOPPED),
            Observed(replace(GPU_ONE, files="")),
            steps.Commit(replace(GPU_ONE, files=""), flatten=False),
        ),
        (assignment(RUNNING), Observed(GPU_ONE, gpus=HAS_GPUS), steps.Copy(GPU_ONE)),
        (assignment(RUNNING), Observed(WITH_LXCFS, lxcfs=True), steps.Start(WITH_LXCFS)),
        (assignment(RUNNING), Observed(WITH_LXCFS), steps.Copy(WITH_LXCFS)),
        (assignment(RUNNING), Observed(READABLE, lxcfs=True), steps.Start(READABLE)),  # one without lxcfs is kept
        (assignment(RUNNING), Observed(OTHER_DISK), steps.Copy(OTHER_DISK)),
        (assignment(RUNNING), Observed(OTHER_DISK, files=COPIED), steps.Restore(COPIED, OTHER_DISK)),
        (assignment(RUNNING), Observed(replace(OTHER_DISK, files="")), steps.Start(replace(OTHER_DISK, files=""))),
        (assignment(RUNNING), Observed(OTHER_DISK, cannot_make="no"), steps.Start(OTHER_DISK)),
    ],
)
def test_a_container_that_cannot_change_is_made_again_at_its_start(
    wanted: Assignment, observed: Observed, step: steps.Step
) -> None:
    assert plan.next_step(wanted, observed) == step


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        (
            Observed(replace(GPU_ONE, files="")),
            "its files cannot be copied here, which needs a runner as root and Docker's",
        ),
        (
            Observed(GPU_ONE, cannot_make="Docker refused"),
            "its container was made with other GPUs, so .*: Docker refused$",
        ),
        (
            Observed(GPU_ONE, gpus=frozenset({"GPU-1"})),
            "GPU-2 is gone from its machine; start the session again to get",
        ),
        (Observed(gpus=frozenset(), source=SOURCE), "GPU-2 is gone from its machine"),
    ],
)
def test_a_container_never_starts_with_gpus_that_are_not_its_own(observed: Observed, why: str) -> None:
    step = plan.next_step(wants_gpu(2), observed)
    assert isinstance(step, steps.Refuse)
    assert re.search(why, step.message)


def test_a_running_session_says_that_its_gpu_is_gone() -> None:
    runs = replace(GPU_ONE, status=Status.RUNNING)
    step = plan.next_step(wants_gpu(1), Observed(runs, gpus=frozenset({"GPU-2"})))
    assert step == steps.Rest(
        SessionState.RUNNING,
        "172.30.0.2",
        runs,
        "gpu",
        "GPU-1 is gone from its machine; stop and start it to get another one",
    )


NO_LIMIT = "no limit of its disk"
WHEN = f"{NO_LIMIT} from its next start on; until then it has a disk of 1 GiB"
NEVER = (
    f"it keeps a disk of 1 GiB, and does not get {NO_LIMIT}: its container cannot be made again, because {{}}; create "
    "a session with that limit, and copy its files there"
)
NOT_COPIED = "its files cannot be copied here, which needs a runner as root and Docker's storage driver overlay2"


@pytest.mark.parametrize(
    ("files", "cannot_make", "message"),
    [
        ("/upper", "", WHEN),
        ("", "", NEVER.format(NOT_COPIED)),
        ("/upper", "the copy is damaged", NEVER.format("the copy is damaged")),
    ],
)
def test_a_session_says_when_another_disk_limit_holds(files: str, cannot_make: str, message: str) -> None:
    exited = replace(OTHER_DISK, files=files)
    runs = replace(exited, status=Status.RUNNING)
    saved = SavedImage(HELD.snapshot, exited.run)
    at_rest = Observed(exited, (saved,), files=COPIED if files else None, cannot_make=cannot_make)
    assert plan.next_step(assignment(RUNNING), Observed(runs, cannot_make=cannot_make)) == steps.Rest(
        SessionState.RUNNING, "172.30.0.2", runs, "disk_limit", message
    )
    assert plan.next_step(assignment(STOPPED, 1, HELD.snapshot), at_rest) == steps.Rest(
        SessionState.STOPPED, reason="disk_limit", message=message
    )
