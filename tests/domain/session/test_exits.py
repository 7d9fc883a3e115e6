"""The cause of an end, and the pause before the next start."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.session import exits
from netvps.domain.session.container import Container, Status
from netvps.domain.session.spec import RestartPolicy, SessionSpec

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
EXITED = Container("c1", Status.EXITED, 1, started=NOW, ended=NOW + timedelta(seconds=9))


@pytest.mark.parametrize(
    ("code", "oom", "survived", "asked", "cause"),
    [
        (0, False, False, False, "exit"),
        (1, True, False, False, "exit"),
        (137, False, False, False, "killed"),
        (137, True, False, False, "oom"),
        (137, True, True, False, "killed"),
        (143, False, False, False, "killed"),
        (255, False, False, False, "exit"),
        (137, False, False, True, "stopped"),
    ],
)
def test_the_cause_of_an_end(code: int, oom: bool, survived: bool, asked: bool, cause: str) -> None:
    ended = replace(EXITED, exit_code=code, oom_killed=oom)
    seen = exits.last_exit(ended, asked=asked, survived_oom=survived)
    assert seen is not None
    assert (seen.exit_code, seen.cause) == (code, cause)


@pytest.mark.parametrize(("code", "cause"), [(137, "oom"), (143, "killed")])
@pytest.mark.parametrize("survived", [False, True])
def test_the_kernels_log_is_proof_whatever_docker_noted(code: int, cause: str, survived: bool) -> None:
    ended = replace(EXITED, exit_code=code, oom_killed=False, ended_by_oom=True)
    seen = exits.last_exit(ended, asked=False, survived_oom=survived)
    assert seen is not None
    assert seen.cause == cause


@pytest.mark.parametrize(
    ("booted", "asked", "cause"),
    [
        (NOW - timedelta(days=1), False, "exit"),
        (NOW + timedelta(1), False, "runner_lost"),
        (NOW + timedelta(1), True, "stopped"),
    ],
)
def test_what_ran_before_the_machine_started_ended_with_it(booted: datetime, asked: bool, cause: str) -> None:
    seen = exits.last_exit(replace(EXITED, exit_code=255), asked=asked, survived_oom=False, booted=booted)
    assert seen is not None
    assert seen.cause == cause


@pytest.mark.parametrize(
    ("policy", "limit", "code", "failures", "words"),
    [
        (RestartPolicy.ALWAYS, 0, 1, 99, ""),
        (RestartPolicy.NEVER, 0, 3, 1, "its container ended by itself (exit code 3), and its restart policy is never"),
        (
            RestartPolicy.ON_FAILURE,
            0,
            0,
            1,
            "its container ended by itself (exit code 0), and its restart policy restarts it after failures only",
        ),
        (RestartPolicy.ON_FAILURE, 0, 1, 99, ""),
        (RestartPolicy.ON_FAILURE, 2, 137, 2, ""),
        (
            RestartPolicy.ON_FAILURE,
            2,
            137,
            3,
            "its container ended by itself (exit code 137), and its restart policy allows 2 restarts in a row",
        ),
    ],
)
def test_the_restart_policy_says_what_stays_down(
    policy: RestartPolicy, limit: int, code: int, failures: int, words: str
) -> None:
    spec = SessionSpec(image="x", restart_policy=policy, max_restarts=limit)
    assert exits.why_stays_down(spec, code, failures) == words


def test_a_run_of_a_minute_is_steady() -> None:
    assert not exits.is_steady(EXITED)
    assert exits.is_steady(replace(EXITED, ended=NOW + timedelta(seconds=60)))


def test_what_never_ran_has_no_end() -> None:
    assert exits.last_exit(Container("c1", Status.CREATED, 1), asked=False, survived_oom=False) is None


@given(st.integers(-5, 100), st.floats(0, 0.999))
def test_restarts_are_one_to_sixty_seconds_apart(failures: int, jitter: float) -> None:
    delay = exits.restart_delay(failures, jitter)
    assert delay == 0 if failures <= 0 else 1 <= delay <= 60
