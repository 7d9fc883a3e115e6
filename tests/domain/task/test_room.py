"""Room for tasks."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.runner.runner import Capacity, Runner
from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.lifecycle import new_tasks, place
from netvps.domain.task.room import Room
from netvps.domain.task.spec import TaskSpec

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RUNNER = Runner("0000000000009", "lab1", NOW, NOW, capacity=Capacity(cpus=4, memory_bytes=8 << 30))


@given(st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.5, 4.0, 8.0]), st.integers(0, 10)), max_size=20))
def test_tasks_never_get_more_than_there_is_unless_one_runs_alone(asked: list[tuple[float, int]]) -> None:
    room, placed = Room({}), []
    for cpus, gib in asked:
        (task,) = new_tasks(
            "0000000000001", "a", TaskSpec(("true",), SessionSpec(cpus=cpus, memory_bytes=gib << 30)), 1, NOW
        )
        if room.has(task, RUNNER):
            placed.append(place(task, RUNNER, ()))
            room = room.without(placed[-1])
    if len(placed) > 1:
        assert sum(task.cpu_claim for task in placed) <= 4000
        assert sum(task.memory_claim for task in placed) <= 8 << 30
    assert placed or not asked
