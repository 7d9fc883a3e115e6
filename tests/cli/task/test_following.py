"""`netvps run` in the foreground, `netvps task wait` and `netvps task logs`."""

from __future__ import annotations

import pytest

from netvps import exit_codes
from netvps.cli.task import following
from netvps.domain.session.exec import Stderr, Stdout
from netvps.domain.task.task import TaskCause, TaskState
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient
from tests.cli.fake_scheduling import TASK

RUNNING = {"state": TaskState.RUNNING, "start_time": NOW}
SUCCEEDED = {"state": TaskState.SUCCEEDED, "exit_code": 0}
FAILED = {"state": TaskState.FAILED, "cause": TaskCause.EXIT_CODE, "exit_code": 3, "message": "exit code 3"}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_AGAIN", 0.0)


def test_run_copies_both_streams_and_ends_as_the_command_does(run: Run, fake: FakeClient) -> None:
    fake.ends = ({"message": "no room"}, RUNNING, FAILED)
    fake.logs = ((Stdout(b"one\n"), Stderr(b"two\n")),)
    ran = run("run", "--", "false")
    assert (ran.code, ran.out, ran.err) == (3, "one\n", f"task {TASK}: no room\ntwo\n")


def test_a_log_goes_on_where_it_was_after_a_break(run: Run, fake: FakeClient) -> None:
    fake.ends = (RUNNING, SUCCEEDED)
    gone = Unavailable("the server is restarted")
    fake.logs = ((Stdout(b"abc"), Stderr(b"x"), gone), (gone,), (Stdout(b"ab"), Stderr(b"xy"), Stdout(b"cd")))
    ran = run("run", "--", "true")
    assert (ran.code, ran.out, ran.err) == (0, "abcd", "xy")


def test_a_log_that_cannot_be_had_is_given_up(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_MOST_BREAKS", 1)
    fake.logs = ((Unavailable("away"),),) * 2
    assert run("task", "logs", "-f", TASK).code == exit_codes.UNAVAILABLE
    fake.logs = ((Unavailable("away"),),)
    assert run("task", "logs", TASK).code == exit_codes.UNAVAILABLE


def test_an_end_without_an_exit_code_is_an_error_of_its_own(run: Run, fake: FakeClient) -> None:
    fake.ends = ({"state": TaskState.FAILED, "cause": TaskCause.IMAGE, "message": "no such image"},)
    ran = run("run", "--", "true")
    assert (ran.out, ran.err) == ("", f"netvps: task {TASK} is FAILED: no such image\n")
    assert ran.code == exit_codes.CONFLICT


def test_an_array_is_waited_for(run: Run, fake: FakeClient) -> None:
    fake.ends = (RUNNING, SUCCEEDED)
    assert run("run", "--array", "2", "--", "true").code == 0
    fake.ends = (FAILED,)
    ran = run("run", "--array", "2", "--", "false")
    assert f"task {TASK}-0 is FAILED: exit code 3; 2 of 2 did not succeed" in ran.err


def test_wait_prints_each_end_and_fails_unless_all_succeeded(run: Run, fake: FakeClient) -> None:
    run("run", "-d", "--array", "2", "--", "true")
    assert run("task", "wait", TASK, "--timeout", "0s").code == exit_codes.TIMEOUT
    fake.ends = (SUCCEEDED,)
    ran = run("task", "wait", TASK, "--timeout", "1h")
    assert (ran.code, ran.out) == (0, f"{TASK}-0\tSUCCEEDED\n{TASK}-1\tSUCCEEDED\n")
    fake.ends = (FAILED,)
    assert run("task", "wait", TASK).code == exit_codes.CONFLICT


def test_ctrl_c_leaves_the_task_alone(run: Run, fake: FakeClient) -> None:
    fake.errors["wait_tasks"] = KeyboardInterrupt()
    ran = run("run", "--", "true")
    assert f"the task goes on; to end it: netvps task cancel {TASK}" in ran.err
    assert ran.code == exit_codes.INTERRUPTED
