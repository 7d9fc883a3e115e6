"""Rates between two readings."""

from __future__ import annotations

import pytest

from netvps.domain.metrics import Counters, Measurement, MetricsRequest, measure

BEFORE = Counters(10.0, 100.0, 5, 1000, 2000)


@pytest.mark.parametrize(
    ("after", "measured"),
    [
        (Counters(12.0, 103.0, 7, 1500, 2000), Measurement(1.5, 7, 250.0, 0.0)),
        (Counters(12.0, 100.0, 7, None, None), Measurement(0.0, 7, None, None)),
        (Counters(12.0, 101.0, 7, 10, 2002), Measurement(0.5, 7, None, 1.0)),  # an interface was replaced
        (Counters(12.0, 1.0, 7, 1500, 2000), None),  # started again
        (Counters(10.0, 100.0, 7, 1500, 2000), None),
    ],
)
def test_rates(after: Counters, measured: Measurement | None) -> None:
    assert measure(BEFORE, after) == measured


def test_an_empty_request_asks_for_nothing() -> None:
    assert not MetricsRequest()
    assert MetricsRequest(machine=True)
    assert MetricsRequest(frozenset({"s1"}))
