"""What a task may run."""

from __future__ import annotations

import pytest

from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.spec import TaskSpec
from netvps.errors import InvalidInput


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"command": ()}, "no program is named"),
        ({"command": ("",)}, "no program is named"),
        ({"command": ("a", "b\0")}, "NUL"),
        ({"command": ("a",) * 1001}, "1001 words are more than 1000"),
        ({"command": ("a" * 40_000,)}, "40001 bytes are more than 32768"),
        ({"command": ("a",), "timeout": 0.5}, "0.5 s are not between 1 s and 365 days"),
        ({"command": ("a",), "timeout": float("nan")}, "nan s are not between"),
        ({"command": ("a",), "retries": 101}, "101 is not between 0 and 100"),
        ({"command": ("a",), "container": SessionSpec(env={"A": "x" * 32_700, "B": "x" * 90})}, "use a file"),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason(job: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        TaskSpec(**job)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 501, 100_000])
def test_an_array_has_a_limit_in_the_error(count: int) -> None:
    with pytest.raises(InvalidInput, match=f"{count} is not between 1 and 500"):
        TaskSpec(("true",)).require_count(count)


def test_an_array_of_large_tasks_is_refused() -> None:
    with pytest.raises(InvalidInput, match="500 tasks with 20000 bytes"):
        TaskSpec(("x" * 20_000,)).require_count(500)
