"""`netvps run` (netvps.cli.task.run) and `netvps task`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from netvps import exit_codes
from netvps.domain.task.task import TaskCause, TaskState
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient
from tests.cli.fake_scheduling import TASK


def test_run_prints_the_id_alone(run: Run, fake: FakeClient) -> None:
    words = (
        "--image",
        "debian:12",
        "--cpus",
        "2",
        "--memory",
        "1G",
        "--env",
        "A=1",
        "--timeout",
        "2h",
        "--retries",
        "1",
    )
    ran = run("run", "-d", *words, "--", "make", "-j2")
    assert (ran.code, ran.out, ran.err) == (0, f"{TASK}\n", f"next: netvps task wait {TASK}\n")
    ((_, job, count),) = fake.asked
    assert (job.command, job.timeout, job.retries, count) == (("make", "-j2"), 7200.0, 1, 1)
    spec = job.container
    assert (spec.image, spec.cpus, spec.memory_bytes, spec.env) == ("debian:12", 2.0, 1 << 30, {"A": "1"})


@pytest.mark.usefixtures("fake")
def test_run_of_an_array_prints_its_tasks_as_json(run: Run) -> None:
    found = json.loads(run("run", "--array", "2", "-o", "json", "--", "true").out)
    assert [task["name"] for task in found] == [f"tasks/{TASK}-0", f"tasks/{TASK}-1"]
    assert json.loads(run("run", "-o", "json", "--", "true").out)["name"] == f"tasks/{TASK}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--array", "100000", "--", "true"), "--array: 100000 is not between 1 and 500"),
        (("--cpus", "0.001", "--", "true"), "--cpus"),
        (("--timeout", "0.5s", "--", "true"), "--timeout"),
        (("--retries", "1000", "--", "true"), "--retries: 1000 is not between 0 and 100"),
        (("--",), "COMMAND"),
    ],
)
def test_what_cannot_run_is_said_with_the_option(run: Run, fake: FakeClient, words: tuple[str, ...], said: str) -> None:
    ran = run("run", *words)
    assert (ran.code, ran.out, fake.asked) == (exit_codes.USAGE, "", [])
    assert said in ran.err


def test_tasks_are_listed_and_shown(run: Run, fake: FakeClient) -> None:
    assert "no tasks: see netvps run --help" in run("task", "ls").err
    run("run", "-d", "--array", "2", "--", "sh", "-c", "exit 3")
    first, second = fake.tasks
    failed = replace(first, state=TaskState.FAILED, cause=TaskCause.EXIT_CODE, exit_code=3, runner_name="lab1")
    fake.tasks = (replace(failed, message="the command ended with exit code 3", start_time=NOW, end_time=NOW), second)
    lines = run("task", "ls", TASK).out.splitlines()
    assert lines[0].split() == ["ID", "STATE", "EXIT", "RUNNER", "AGE", "COMMAND"]
    assert lines[1].split()[:4] == [f"{TASK}-0", "FAILED", "3", "lab1"]
    shown = run("task", "show", f"tasks/{TASK}-0").out
    assert "state:     FAILED (exit code)" in shown
    assert "limits:    1 CPU\n" in shown
    assert "the command ended with exit code 3" in shown
    assert json.loads(run("task", "show", f"{TASK}-0", "-o", "json").out)["exitCode"] == 3


def test_cancel_prints_what_is_to_end(run: Run, fake: FakeClient) -> None:
    run("run", "-d", "--array", "2", "--", "true")
    assert run("task", "cancel", TASK).out == f"{TASK}-0\n{TASK}-1\n"
    assert fake.asked[-1] == ("cancel_tasks", TASK)
    assert run("task", "cancel", "nonsense").code == exit_codes.USAGE
