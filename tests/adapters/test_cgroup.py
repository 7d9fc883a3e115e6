"""The OOM counter, on trees recorded on machines with cgroup version 1, 2, and both."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.adapters.cgroup import oom_kills

V1 = {
    "proc/7/cgroup": "12:pids:/docker/c1\n9:memory:/docker/c1\n1:name=systemd:/docker/c1\n0::/docker/c1\n",
    "sys/fs/cgroup/memory/docker/c1/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
}
V2 = {
    "proc/7/cgroup": "0::/system.slice/docker-c1.scope\n",
    "sys/fs/cgroup/system.slice/docker-c1.scope/memory.events": (
        "low 0\nhigh 0\nmax 37\noom 2\noom_kill 2\noom_group_kill 0\n"
    ),
}
V2_QUIET = V2 | {"sys/fs/cgroup/system.slice/docker-c1.scope/memory.events": "low 0\noom 0\noom_kill 0\n"}
HYBRID = V1 | {"sys/fs/cgroup/docker/c1/memory.events": "oom_kill 99\n"}
V1_COMOUNTED = {
    "proc/7/cgroup": "4:cpu,memory:/docker/c1\n",
    "sys/fs/cgroup/memory/docker/c1/memory.oom_control": "oom_kill 1\n",
}
OLD_KERNEL = V1 | {"sys/fs/cgroup/memory/docker/c1/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}
GONE = {"proc/7/cgroup": "0::/system.slice/docker-c1.scope\n"}
OTHER_NAMESPACE = {"proc/7/cgroup": "0::/../../docker/c1\n"}


@pytest.mark.parametrize(
    ("tree", "kills"),
    [
        (V1, 3),
        (V2, 2),
        (V2_QUIET, 0),
        (HYBRID, 3),
        (V1_COMOUNTED, 1),
        (OLD_KERNEL, None),
        (GONE, None),
        (OTHER_NAMESPACE, None),
        ({}, None),
    ],
)
def test_the_counter(tmp_path: Path, tree: dict[str, str], kills: int | None) -> None:
    for name, content in tree.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert oom_kills(7, tmp_path) == kills
