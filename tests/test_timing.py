"""Durations reach whoever asked, for as long as they ask."""

from __future__ import annotations

import pytest

from netvps.timing import observe_duration, observe_durations, timed


def test_a_step_is_reported_however_it_ends() -> None:
    seen: list[tuple[str, str, bool]] = []
    with observe_durations(lambda step, which, seconds: seen.append((step, which, 0 <= seconds < 60))):
        with timed("store", "read"):
            pass
        with pytest.raises(ValueError, match="boom"), timed("store", "write"):
            raise ValueError("boom")
        observe_duration("gateway_login", "joined", 0.5)
    observe_duration("gateway_login", "joined", 0.5)
    assert seen == [("store", "read", True), ("store", "write", True), ("gateway_login", "joined", True)]
