from __future__ import annotations

import pytest

from netvps.domain.image.image import DefaultImage, ImageProgress, remaining_seconds


def test_progress_is_one_line_with_what_is_known() -> None:
    assert ImageProgress("pulling x").line == "pulling x"
    assert ImageProgress("pulling x", 5_000_000, 10_000_000, 1, 3, 12.4).line == (
        "pulling x: 5 MB of 10 MB, 1 of 3 layers, 12 s left"
    )
    assert ImageProgress("pulling x", 1, 2).line == "pulling x: 0 MB of 1 MB"


@pytest.mark.parametrize(
    ("done", "total", "elapsed", "expected"),
    [(50, 100, 10, 10.0), (25, 100, 10, 30.0), (0, 100, 10, None), (100, 100, 10, None), (50, 100, 0.5, None)],
)
def test_the_rest_is_at_the_rate_so_far(done: int, total: int, elapsed: float, expected: float | None) -> None:
    assert remaining_seconds(done, total, elapsed) == expected


def test_there_is_one_default() -> None:
    assert DefaultImage("a").key == DefaultImage("b").key
