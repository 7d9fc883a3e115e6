"""OOM kills, CPU and memory, on trees recorded on machines with cgroup version 1, 2, and both."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.adapters.cgroup import CgroupUsage, cgroup_of, cgroup_upto, oom_kills, pids, reclaim, usage

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
    grow(tmp_path, tree)
    assert oom_kills(7, tmp_path) == kills


V1_USE = {
    "proc/7/cgroup": "9:memory:/docker/c1\n4:cpu,cpuacct:/docker/c1\n0::/docker/c1\n",
    "sys/fs/cgroup/cpuacct/docker/c1/cpuacct.usage": "2500000000\n",
    "sys/fs/cgroup/memory/docker/c1/memory.usage_in_bytes": "10485760\n",
    "sys/fs/cgroup/memory/docker/c1/memory.stat": "cache 5000000\ninactive_file 1\ntotal_inactive_file 4194304\n",
}
V1_WITHOUT_LINKS = {name.replace("/cpuacct/", "/cpu,cpuacct/"): content for name, content in V1_USE.items()}
V2_USE = {
    "proc/7/cgroup": "0::/system.slice/docker-c1.scope/init.scope\n",
    "sys/fs/cgroup/system.slice/docker-c1.scope/cpu.stat": "usage_usec 2500000\nuser_usec 2000000\n",
    "sys/fs/cgroup/system.slice/docker-c1.scope/memory.current": "10485760\n",
    "sys/fs/cgroup/system.slice/docker-c1.scope/memory.stat": "anon 6000000\ninactive_file 4194304\n",
}
USED = CgroupUsage(2.5, 6 << 20)


@pytest.mark.parametrize(
    ("tree", "used"),
    [
        (V1_USE, USED),
        (V1_WITHOUT_LINKS, USED),
        (V2_USE, USED),
        (V1_USE | {"sys/fs/cgroup/cpuacct/docker/c1/cpuacct.usage": "\n"}, None),
        (GONE, None),
        (OTHER_NAMESPACE, None),
        ({}, None),
    ],
)
def test_use_of_a_container_with_the_cgroups_that_it_made(
    tmp_path: Path, tree: dict[str, str], used: CgroupUsage | None
) -> None:
    grow(tmp_path, tree)
    assert usage(cgroup_upto(cgroup_of(7, tmp_path) or "", "c1"), tmp_path) == used


def test_a_process_of_something_else_is_not_of_the_container() -> None:
    assert not cgroup_upto("9:memory:/docker/c2\n0::/init.scope\n", "c1")


SCOPE = "sys/fs/cgroup/system.slice/docker-c1.scope"
CGROUP = "0::/system.slice/docker-c1.scope\n"
V2_MEMORY = {f"{SCOPE}/memory.current": "5000000\n"}


@pytest.mark.parametrize(
    ("cgroup", "tree", "number"),
    [
        ("12:pids:/docker/c1\n0::/x\n", {"sys/fs/cgroup/pids/docker/c1/pids.current": "12\n"}, 12),
        (CGROUP, {f"{SCOPE}/pids.current": "3\n"}, 3),
        (CGROUP, {f"{SCOPE}/pids.current": "max\n"}, None),
        (CGROUP, {}, None),
        ("", {}, None),
    ],
)
def test_processes_and_threads(tmp_path: Path, cgroup: str, tree: dict[str, str], number: int | None) -> None:
    grow(tmp_path, tree)
    assert pids(cgroup, tmp_path) == number


def test_memory_is_reclaimed_in_pieces_until_no_more_is_taken(tmp_path: Path) -> None:
    """A kernel that takes back 64 MiB per request, down to 40 MiB that it cannot take."""
    grow(tmp_path, V2_MEMORY | {f"{SCOPE}/memory.current": str(200 << 20), f"{SCOPE}/memory.reclaim": ""})
    requests: list[int] = []

    def kernel() -> bool:
        text = (tmp_path / SCOPE / "memory.reclaim").read_text()
        current = tmp_path / SCOPE / "memory.current"
        if text:
            requests.append(int(text))
            current.write_text(str(max(40 << 20, int(current.read_text()) - int(text))))
        return False

    assert reclaim(CGROUP, kernel, tmp_path) == 160 << 20
    assert requests == [64 << 20, 64 << 20, 64 << 20, 40 << 20]


@pytest.mark.parametrize("tree", [V2_MEMORY, {}])
def test_nothing_is_reclaimed_where_the_kernel_cannot(tmp_path: Path, tree: dict[str, str]) -> None:
    grow(tmp_path, tree)
    assert reclaim(CGROUP, lambda: False, tmp_path) == 0


def test_a_reclaim_that_is_given_up_requests_nothing(tmp_path: Path) -> None:
    grow(tmp_path, V2_MEMORY | {f"{SCOPE}/memory.reclaim": ""})
    assert reclaim(CGROUP, lambda: True, tmp_path) == 0
    assert (tmp_path / SCOPE / "memory.reclaim").read_text() == ""


def grow(root: Path, tree: dict[str, str]) -> None:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
