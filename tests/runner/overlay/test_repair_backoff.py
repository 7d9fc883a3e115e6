from __future__ import annotations

from netvps.runner.overlay.repair_backoff import RepairBackoff


def test_repairs_now_and_then_are_made_at_once() -> None:
    contest = RepairBackoff()
    assert [contest.pause(now) for now in (0.0, 2.0, 4.0, 100.0)] == [0.05] * 4


def test_repairs_without_an_end_become_rare() -> None:
    contest, now, pauses = RepairBackoff(), 0.0, []
    for _ in range(12):
        pauses.append(contest.pause(now))
        now += pauses[-1] + 0.01
    assert pauses[:3] == [0.05, 0.1, 0.2]
    assert pauses[-1] == 5.0
    assert contest.pause(now + 10.0) == 0.05
