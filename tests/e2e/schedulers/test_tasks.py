"""Commands that run to their end, on one machine, while the runner and the server are killed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from netvps import exit_codes
from tests.e2e.documents.printed import run_printed, words_of
from tests.e2e.system import System, docker
from tests.project.doc_pages import run_lines
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


def tasks(system: System, array: str) -> list[dict[str, Any]]:
    words = ["task", "ls", *filter(None, [array]), "-o", "json"]
    answer = system.netvps(*words, check=False)  # the server may be killed at the time
    found: list[dict[str, Any]] = json.loads(answer.stdout or b"[]")
    return found


def states(system: System, array: str) -> list[str]:
    return [task["state"].removeprefix("TASK_STATE_") for task in tasks(system, array)]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def started(system: System, *words: str) -> str:
    return system.netvps("run", "-d", "--cpus", "0.2", "--memory", "32M", *words).stdout.decode().strip()


def kill(system: System, program: str) -> None:
    for pid, line in system.processes().items():
        if f"netvps.programs.{program} " in f"{line} ":
            os.kill(pid, signal.SIGKILL)


def end_commands(array: str) -> None:
    """Ends them from outside, as they would by themselves."""
    for index in range(3):
        docker("kill", "-s", "TERM", f"netvps-task-{array}-{index}", check=False)


def _ended(system: System, array: str) -> bool:
    end_commands(array)  # again, in case a shell had not set its trap yet
    return states(system, array) == ["SUCCEEDED", "FAILED", "FAILED"]


def test_commands_run_once_to_their_end(system: System, busybox: str) -> None:
    before = len(tasks(system, ""))
    for line in run_lines("docs/tasks.md"):
        run_printed(system, words_of(line, system, busybox))
    page = tasks(system, "")[before:]
    assert [task["state"] for task in page] == ["TASK_STATE_SUCCEEDED"] * 4
    ids = {
        "SUCCEEDED": started(system, "--", "true"),
        "START": started(system, "--", "no-such-program"),
        "IMAGE": started(system, "--image", "no.such.registry.invalid/x@sha256:bad", "--", "true"),
        "TIMEOUT": started(system, "--timeout", "1s", "--", "sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait"),
    }
    sleeper = started(system, "--", "sh", "-c", "trap 'exit 0' TERM; sleep 600 & wait")
    waits = 'echo out; echo err >&2; trap "exit $NETVPS_TASK_INDEX" TERM; sleep 600 & wait'
    array = started(system, "--array", "3", "--", "sh", "-c", waits)
    until(lambda: states(system, array) == ["RUNNING"] * 3 and states(system, sleeper) == ["RUNNING"])
    kill(system, "runner")
    kill(system, "server")
    end_commands(array)  # while neither is there
    until(lambda: _ended(system, array))
    assert [task.get("exitCode", 0) for task in tasks(system, array)] == [0, 1, 2]
    log = system.netvps("task", "logs", "-f", f"{array}-0")
    assert (log.stdout, log.stderr) == (b"out\n", b"err\n")
    assert system.netvps("run", "--cpus", "0.2", "--", "sh", "-c", "exit 5", check=False).returncode == 5
    system.netvps("task", "cancel", sleeper)
    assert system.netvps("task", "wait", sleeper, *ids.values(), check=False).returncode == exit_codes.CONFLICT
    assert states(system, sleeper) == ["CANCELLED"]
    for end, task_id in ids.items():
        (task,) = tasks(system, task_id)
        assert end in {task["state"].removeprefix("TASK_STATE_"), task.get("cause", "").removeprefix("TASK_CAUSE_")}
    assert tasks(system, ids["START"])[0]["exitCode"] == 127
    assert not docker("ps", "-q", "--filter", f"label=netvps.node={system.runner_uid()}")
