"""What a policy may say."""

from __future__ import annotations

from typing import Any

import pytest

from netvps.domain.sleep.policy import SleepPolicy
from netvps.errors import InvalidInput


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"pause_after": 29.0}, "pause_after"),
        ({"pause_after": float("nan")}, "pause_after"),
        ({"stop_after": -1.0}, "stop_after"),
        ({"stop_after": 366 * 86_400.0}, "stop_after"),
        ({"lifetime": 59.0}, "lifetime"),
        ({"awake_hours": "8-18"}, "awake_hours"),
        ({"cpu_floor": 0.001}, "cpu_floor"),
        ({"cpu_floor": float("inf")}, "cpu_floor"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        SleepPolicy(**values)
    assert [violation.field for violation in raised.value.violations] == [field]


def test_never_and_the_servers_default_are_two_things() -> None:
    assert SleepPolicy(0.0, 0.0) != SleepPolicy()
    assert SleepPolicy(awake_hours="08:00-18:00").hours is not None
    assert SleepPolicy().hours is None
