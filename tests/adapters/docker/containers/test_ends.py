"""Which containers the OOM killer ended, by the kernel's log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from netvps.adapters.docker.containers.ends import OomEnds
from netvps.adapters.kernel_log import OomVictim

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
END = START + timedelta(hours=1)
VICTIM = OomVictim(4211, "/docker/c1/inner", END - timedelta(seconds=1))


def test_the_victim_is_pid_1() -> None:
    ends = OomEnds(lambda: [VICTIM])
    ends.runs("c1", START, 4211)
    ends.runs("c2", START, 4212)
    assert ends.by_oom("c1", START, END)
    assert not ends.by_oom("c2", START, END)


def test_a_victim_in_the_container_beside_pid_1_did_not_end_it() -> None:
    ends = OomEnds(lambda: [VICTIM])
    ends.runs("c1", START, 4000)
    assert not ends.by_oom("c1", START, END)


def test_a_run_that_was_never_seen_is_known_by_its_cgroup() -> None:
    ends = OomEnds(lambda: [VICTIM])
    ends.runs("c1", START - timedelta(hours=2), 4000)  # an earlier run
    assert ends.by_oom("c1", START, END)
    assert not ends.by_oom("c9", START, END)


def test_an_end_that_was_noted_late_is_that_of_the_victim() -> None:
    ends = OomEnds(lambda: [VICTIM])
    ends.runs("c1", START, 4211)
    assert ends.by_oom("c1", START, END + timedelta(minutes=1))


def test_a_kill_long_before_the_end_or_the_start_is_of_another_process() -> None:
    ends = OomEnds(lambda: [VICTIM])
    assert not ends.by_oom("c1", START, END + timedelta(minutes=1))
    ends.runs("c1", END + timedelta(minutes=2), 4211)
    assert not ends.by_oom("c1", END + timedelta(minutes=2), END + timedelta(minutes=3))


def test_the_log_is_read_once_for_each_end_and_of_the_last_few_thousand_only() -> None:
    reads: list[str] = []

    def victims() -> list[OomVictim]:
        reads.append("read")
        return [VICTIM]

    ends = OomEnds(victims)
    for number in range(5000):
        ends.runs(f"c{number}", START, number + 1)
        assert ends.by_oom(f"c{number}", START, END) is (number + 1 == VICTIM.pid)
    reads.clear()
    assert ends.by_oom("c4210", START, END)
    assert reads == []
    assert not ends.by_oom("c0", START, END)
    assert len(reads) == 1
