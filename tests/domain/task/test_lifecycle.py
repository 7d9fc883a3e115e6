"""The state machine of tasks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.runner.runner import Runner
from netvps.domain.task.lifecycle import cancel, lose, new_tasks, observe, place, wait
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import ENDED, Task, TaskAction, TaskCause, TaskReport, TaskState, order_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
UID = "0000000000001"
RUNNER = Runner("0000000000009", "lab1", NOW, NOW)


def placed(retries: int = 0) -> Task:
    (task,) = new_tasks(UID, "alice", TaskSpec(("true",), retries=retries), 1, NOW)
    return place(task, RUNNER, ())


def said(task: Task, state: TaskState, **more: object) -> Task:
    return observe(task, TaskReport(task.id, task.epoch, state, **more), NOW)  # type: ignore[arg-type]


def test_a_task_runs_to_its_end() -> None:
    running = said(placed(), TaskState.RUNNING, start_time=NOW)
    end = NOW + timedelta(minutes=1)
    ended = said(running, TaskState.FAILED, cause=TaskCause.EXIT_CODE, exit_code=3, message="so", end_time=end)
    assert (ended.state, ended.exit_code, ended.start_time, ended.end_time) == (TaskState.FAILED, 3, NOW, end)
    assert order_of(ended).action is TaskAction.KEEP
    assert said(ended, TaskState.SUCCEEDED) is ended


def test_an_array_has_an_id_for_each_index() -> None:
    tasks = new_tasks(UID, "alice", TaskSpec(("true",)), 3, NOW)
    assert [(task.id, task.array, task.index, task.count) for task in tasks] == [
        (f"{UID}-0", UID, 0, 3),
        (f"{UID}-1", UID, 1, 3),
        (f"{UID}-2", UID, 2, 3),
    ]


def test_a_late_report_of_an_earlier_step_changes_nothing() -> None:
    running = said(placed(), TaskState.RUNNING)
    assert said(running, TaskState.PREPARING) is running
    assert said(running, TaskState.RUNNING) is running
    assert observe(running, TaskReport(UID, 0, TaskState.SUCCEEDED), NOW) is running


def test_a_task_that_waits_is_cancelled_at_once_and_a_placed_one_by_its_runner() -> None:
    (task,) = new_tasks(UID, "alice", TaskSpec(("true",)), 1, NOW)
    assert wait(task, "") is task
    assert cancel(wait(task, "no room"), NOW).state is TaskState.CANCELLED
    asked = cancel(placed(), NOW)
    assert (asked.state, order_of(asked).action) == (TaskState.PREPARING, TaskAction.CANCEL)
    assert cancel(asked, NOW) is asked
    assert said(asked, TaskState.CANCELLED).has_ended


def test_a_lost_task_runs_again_as_often_as_it_may() -> None:
    again = said(placed(retries=1), TaskState.LOST, message="its container was removed")
    assert (again.state, again.runner, again.message) == (TaskState.PENDING, "", "its container was removed")
    lost = lose(place(again, RUNNER, ()), NOW, "gone")
    assert (lost.state, lost.cause, lost.epoch) == (TaskState.LOST, TaskCause.RUNNER_LOST, 2)
    assert lose(lost, NOW, "gone") is lost
    assert lose(cancel(placed(retries=1), NOW), NOW, "gone").state is TaskState.CANCELLED


@given(
    st.integers(0, 2),
    st.lists(
        st.one_of(
            st.sampled_from(["place", "cancel", "lose", "wait"]),
            st.tuples(st.sampled_from(TaskState), st.integers(0, 4)),
        ),
        max_size=30,
    ),
)
def test_no_order_of_events_ends_a_task_twice_or_places_it_too_often(retries: int, events: list[object]) -> None:
    (task,) = new_tasks(UID, "alice", TaskSpec(("true",), retries=retries), 1, NOW)
    for event in events:
        before = task
        if event == "place" and task.state is TaskState.PENDING:
            task = place(task, RUNNER, ())
        elif event == "wait" and task.state is TaskState.PENDING:
            task = wait(task, "no room")
        elif event == "cancel":
            task = cancel(task, NOW)
        elif event == "lose":
            task = lose(task, NOW, "gone")
        elif isinstance(event, tuple) and event[0] is not TaskState.PENDING:
            task = observe(task, TaskReport(UID, event[1], event[0]), NOW)
            if event[1] != before.epoch:
                assert task is before
        if before.has_ended:
            assert task is before
        assert task.has_ended == (task.state in ENDED) == (task.end_time is not None)
        assert before.epoch <= task.epoch <= retries + 1
        assert task.has_ended or bool(task.runner) == (task.state is not TaskState.PENDING)
        assert not (before.cancelled and not task.cancelled)
        assert not (task.cancelled and task.state is TaskState.PENDING)
