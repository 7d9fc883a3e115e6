"""How simulated runners behave."""

from __future__ import annotations

import click
import pytest

from netvps.cli.machine import programs
from netvps.domain.session.session import Assignment, DesiredState, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.task import TaskAction, TaskOrder, TaskState
from netvps.programs.sim.behaviour import Behaviour, Fault

STARTS = 400


def wanted(number: int, desired: DesiredState = DesiredState.RUNNING) -> Assignment:
    return Assignment(f"u{number}", f"sim-{number}", "ann", 1, 2, desired, SessionSpec(), None, 3)


def starts(behaviour: Behaviour) -> list[tuple[float, SessionState]]:
    changes = (behaviour.change("lab0", wanted(number)) for number in range(STARTS))
    return [(seconds, report.state) for seconds, report in changes]


def test_the_same_seed_has_the_same_times_and_another_one_others() -> None:
    assert starts(Behaviour(7)) == starts(Behaviour(7))
    assert starts(Behaviour(7)) != starts(Behaviour(8))


@pytest.mark.parametrize(
    ("desired", "state"),
    [
        (DesiredState.RUNNING, SessionState.RUNNING),
        (DesiredState.PAUSED, SessionState.PAUSED),
        (DesiredState.STOPPED, SessionState.STOPPED),
        (DesiredState.DELETED, SessionState.DELETED),
    ],
)
def test_a_change_ends_where_it_was_wanted(desired: DesiredState, state: SessionState) -> None:
    _, report = Behaviour().change("lab0", wanted(1, desired))
    assert (report.session_uid, report.epoch, report.generation, report.state) == ("u1", 1, 2, state)


def test_speed_divides_and_a_slow_stop_multiplies() -> None:
    stop = wanted(1, DesiredState.STOPPED)
    plain, _ = Behaviour().change("lab0", stop)
    assert Behaviour(speed=10).change("lab0", stop)[0] == pytest.approx(plain / 10)
    slow = Behaviour(faults=frozenset({Fault.SLOW_STOP}))
    assert slow.change("lab0", stop)[0] == pytest.approx(10 * plain)
    assert slow.change("lab0", wanted(1))[0] == Behaviour().change("lab0", wanted(1))[0]


def test_some_starts_find_the_disk_full_and_only_if_that_was_asked_for() -> None:
    assert {state for _, state in starts(Behaviour())} == {SessionState.RUNNING}
    states = [state for _, state in starts(Behaviour(faults=frozenset({Fault.DISK_FULL})))]
    assert 5 <= states.count(SessionState.FAILED) <= 40
    stopped = Behaviour(faults=frozenset({Fault.DISK_FULL}))
    assert {stopped.change("lab0", wanted(number, DesiredState.STOPPED))[1].state for number in range(STARTS)} == {
        SessionState.STOPPED
    }


def test_the_command_offers_all_faults() -> None:
    (option,) = [one for one in programs.sim.params if one.name == "fault"]
    assert isinstance(option.type, click.Choice)
    assert [*option.type.choices] == [*Fault]


def test_a_command_takes_its_time_and_one_in_twenty_fails_on_a_full_disk() -> None:
    orders = [TaskOrder("0000000000001", 1, TaskAction.RUN, "alice", index=index) for index in range(200)]
    ends = [Behaviour(seed=7).task(order) for order in orders]
    assert ends == [Behaviour(seed=7).task(order) for order in orders]
    assert all(0.5 <= seconds <= 5.0 and report.exit_code == 0 for seconds, report in ends)
    assert Behaviour(seed=7, speed=10.0).task(orders[0])[0] == ends[0][0] / 10
    full = [Behaviour(seed=7, faults=frozenset({Fault.DISK_FULL})).task(order)[1] for order in orders]
    assert 0 < sum(report.state is TaskState.FAILED for report in full) < 30
