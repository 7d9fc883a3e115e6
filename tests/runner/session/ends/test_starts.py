"""What is remembered of starts, and what stays down for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netvps.domain.session.container import Container, Status
from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import RestartPolicy, SessionSpec
from netvps.runner.session.ends.starts import Starts

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
NEW = Container("c", Status.CREATED, 1)
NEVER = SessionSpec(image="x", restart_policy=RestartPolicy.NEVER)
TWICE = SessionSpec(image="x", restart_policy=RestartPolicy.ON_FAILURE, max_restarts=2)


def assignment(spec: SessionSpec, generation: int = 1) -> Assignment:
    return Assignment("u", "dev1", "ann", 1, generation, DesiredState.RUNNING, spec, None, 1)


def ended(number: int, code: int = 1, seconds: float = 1.0) -> Container:
    """The container after run `number`."""
    began = START + timedelta(minutes=10 * number)
    return replace(NEW, status=Status.EXITED, started=began, ended=began + timedelta(seconds=seconds), exit_code=code)


def test_a_session_that_is_always_restarted_leaves_no_record(tmp_path: Path) -> None:
    starts, always = Starts(tmp_path / "starts"), assignment(SessionSpec(image="x"))
    starts.starting(always, NEW)
    starts.runs(always, replace(NEW, status=Status.RUNNING, started=START))
    assert starts.why_down(always, ended(1)) == ""
    assert not (tmp_path / "starts").exists()


def test_what_ended_after_its_start_stays_down_also_for_the_next_runner(tmp_path: Path) -> None:
    Starts(tmp_path).starting(assignment(NEVER), NEW)
    starts = Starts(tmp_path)
    assert starts.why_down(assignment(NEVER), NEW) == ""  # the start itself is still to come
    assert "(exit code 7), and its restart policy is never" in starts.why_down(assignment(NEVER), ended(1, 7))
    assert starts.why_down(assignment(NEVER, 2), ended(1, 7)) == ""  # its owner started it again
    starts.starting(assignment(NEVER, 2), ended(1, 7))
    assert starts.why_down(assignment(NEVER, 2), ended(1, 7)) == ""
    assert starts.why_down(assignment(NEVER, 2), ended(2)) != ""
    starts.remove("u")
    starts.remove("u")
    assert starts.why_down(assignment(NEVER, 2), ended(2)) == ""


def test_one_that_was_held_at_its_start_has_not_ended_by_itself_since(tmp_path: Path) -> None:
    starts, run = Starts(tmp_path), ended(1)
    starts.starting(assignment(NEVER), replace(run, status=Status.RUNNING, ended=None, ending=True, held=True))
    assert starts.why_down(assignment(NEVER), run) == ""  # the runner was killed in between
    assert starts.why_down(assignment(NEVER), ended(2)) != ""


def test_failures_in_a_row_are_counted_until_the_limit(tmp_path: Path) -> None:
    starts, last, downs = Starts(tmp_path), NEW, []
    for number in range(1, 5):
        starts.starting(assignment(TWICE), last)
        last = ended(number)
        downs.append(bool(starts.why_down(assignment(TWICE), last)))
    assert downs == [False, False, True, True]


def test_a_long_run_starts_the_count_over(tmp_path: Path) -> None:
    starts, last = Starts(tmp_path), NEW
    for number in range(1, 9):
        starts.starting(assignment(TWICE), last)
        last = ended(number, seconds=90.0 if number % 2 else 1.0)
        assert starts.why_down(assignment(TWICE), last) == ""


def test_a_new_generation_of_a_running_container_is_noted_once(tmp_path: Path) -> None:
    starts = Starts(tmp_path)
    running = replace(NEW, status=Status.RUNNING, started=ended(1).started)
    starts.runs(assignment(NEVER, 3), running)  # for example, its policy was changed while it ran
    assert starts.why_down(assignment(NEVER, 3), ended(1)) != ""
    written = (tmp_path / "u.json").stat().st_mtime_ns
    starts.runs(assignment(NEVER, 3), running)
    assert (tmp_path / "u.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("content", [b"", b"{}", b'{"generation": "x"}', b"[]"])
def test_a_damaged_record_starts_the_session(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "u.json").write_bytes(content)
    assert Starts(tmp_path).why_down(assignment(NEVER), ended(1)) == ""
