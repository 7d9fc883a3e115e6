"""The cause of an end, and the pause before the next start."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.session import exits
from netvps.domain.session.container import Container, Status

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


def test_what_never_ran_has_no_end() -> None:
    assert exits.last_exit(Container("c1", Status.CREATED, 1), asked=False, survived_oom=False) is None


@given(st.integers(-5, 100), st.floats(0, 0.999))
def test_restarts_are_one_to_sixty_seconds_apart(failures: int, jitter: float) -> None:
    delay = exits.restart_delay(failures, jitter)
    assert delay == 0 if failures <= 0 else 1 <= delay <= 60
