"""Victims of the OOM killer, in logs as kernels of several versions write them, and in that of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netvps.adapters.kernel_log import oom_victims

SINCE_START = 574_565_341
CGROUP = (
    "6,1203,574565300,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    "oom_memcg=/docker/c1,task_memcg=/docker/c1,task=sh,pid=4211,uid=0\n"
)
KILLED = (
    "3,1204,574565341,-;Memory cgroup out of memory: Killed process 4211 (sh) total-vm:9016kB, anon-rss:15872kB\n"
    " SUBSYSTEM=memory\n"
)
WHOLE_MACHINE = "3,9,574565341,-,caller=T77;Out of memory: Killed process 4211 (a b) total-vm:1kB, oom_score_adj:0\n"
OLD_KERNEL = (
    "3,7,574565000,-;Memory cgroup out of memory: Kill process 4211 (sh) score 1968 or sacrifice child\n"
    "3,8,574565341,-;Killed process 4211 (sh) total-vm:9016kB, anon-rss:15872kB\n"
)
OTHER = "6,1200,574565000,-;eth0: renamed from veth7\n6,1,2,-;oom_reaper: reaped process 4211 (sh), now anon-rss:0kB\n"


@pytest.mark.parametrize(
    ("log", "cgroup"),
    [
        (CGROUP + OTHER + KILLED, "/docker/c1"),
        (KILLED, ""),
        (WHOLE_MACHINE, ""),
        (OLD_KERNEL, ""),
    ],
)
def test_a_victim_has_a_pid_and_a_time(tmp_path: Path, log: str, cgroup: str) -> None:
    (tmp_path / "kmsg").write_text(OTHER + log + OTHER)
    (victim,) = oom_victims(tmp_path / "kmsg")
    assert (victim.pid, victim.cgroup) == (4211, cgroup)
    started = datetime.fromtimestamp(time.time() - time.monotonic(), UTC)
    assert abs(victim.time - started - timedelta(microseconds=SINCE_START)) < timedelta(seconds=1)


def test_a_pid_that_two_victims_had_keeps_their_cgroups_apart(tmp_path: Path) -> None:
    again = KILLED.replace("574565341", "600000000")
    (tmp_path / "kmsg").write_text(CGROUP + KILLED + again)
    assert [victim.cgroup for victim in oom_victims(tmp_path / "kmsg")] == ["/docker/c1", ""]


def test_a_log_that_cannot_be_read_has_no_victims(tmp_path: Path) -> None:
    assert oom_victims(tmp_path / "none") == []
    (tmp_path / "kmsg").write_text(OTHER)
    assert oom_victims(tmp_path / "kmsg") == []
