"""Sparklines."""

from __future__ import annotations

import pytest
from netvps_tui.widgets.spark import Series, spark


def test_bars_rise_with_the_values_up_to_the_ceiling() -> None:
    assert spark([0, 1, 2, 4], 4) == "▁▂▄█"
    assert spark([0, 0], 0) == "▁▁"
    assert spark([9], 4) == "█"


def test_a_series_keeps_a_minute_and_shows_its_last_value(monkeypatch: pytest.MonkeyPatch) -> None:
    series = Series("cpu", lambda value: f"{value:.1f}")
    assert series.line(10).plain == "cpu      not measured"
    for second in range(70):
        series.add(second)
    assert series.line(5).plain == "cpu      " + "█████" + "  69.0"
    assert series.line(4, ceiling=138).plain == "cpu      ▄▄▄▄  69.0"
    monkeypatch.setenv("NETVPS_ACCESSIBLE", "1")
    assert series.line(5).plain == "cpu        69.0"
