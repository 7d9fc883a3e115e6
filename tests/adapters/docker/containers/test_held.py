"""What the agent of a container that runs says by the name of its PID 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.adapters.docker.client import Answer
from netvps.adapters.docker.containers.held import HELD, is_holdable, name_of_pid1
from netvps.domain.runner.docker_names import LABEL_HOLD

ID = "4f" * 32


def found(pid: int = 7, labels: dict[str, str] | None = None) -> Answer:
    return {"Id": ID, "State": {"Pid": pid}, "Config": {"Labels": {LABEL_HOLD: "true"} if labels is None else labels}}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """One whose process 7 is the container's PID 1, and is held."""
    for pid, cgroup in ((7, f"0::/system.slice/docker-{ID}.scope"), (8, "0::/system.slice/cron.service")):
        folder = tmp_path / f"proc/{pid}"
        folder.mkdir(parents=True)
        (folder / "cgroup").write_text(f"{cgroup}\n")
        (folder / "comm").write_text("netvps-held\n")
    return tmp_path


def test_an_agent_that_can_hold_is_seen_to_do_so(machine: Path) -> None:
    assert is_holdable(found(), machine)
    assert name_of_pid1(found(), machine) == HELD


@pytest.mark.parametrize(
    "container",
    [
        found(labels={}),  # made by an earlier version
        found(pid=0),  # it does not run
        found(pid=8),  # a process of this machine, as Docker is on another one, or in another PID namespace
        found(pid=9),
    ],
)
def test_what_cannot_hold_or_cannot_be_seen_is_not_holdable(machine: Path, container: Answer) -> None:
    assert not is_holdable(container, machine)


def test_a_process_that_is_gone_has_no_name(machine: Path) -> None:
    assert name_of_pid1(found(pid=9), machine) == ""
    assert name_of_pid1(found(pid=0), machine) == ""
