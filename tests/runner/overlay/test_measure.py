from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.overlay.peer_health import Measured, Target
from netvps.runner.overlay.measure import SMALL, WAITS, measure
from tests.runner.overlay.fakes import FakeWire

TARGET = Target("r2", "box2", "10.128.8.0", 1450, "192.0.2.1", "192.0.2.2", "box1", 14789)


async def test_where_all_is_well_two_packets_are_enough() -> None:
    wire = FakeWire()
    assert await measure(wire, TARGET) == Measured(0.001, 1450)
    assert wire.sent == [("10.128.8.0", SMALL), ("10.128.8.0", 1450)]


@pytest.mark.parametrize("alive", [True, False])
async def test_no_answer_says_whether_the_machine_is_there(*, alive: bool) -> None:
    wire = FakeWire()
    wire.largest = {"10.128.8.0": 0} | ({} if alive else {"192.0.2.2": 0})
    assert await measure(wire, TARGET) == Measured(None, 0, alive)
    assert wire.sent == [*[("10.128.8.0", SMALL)] * len(WAITS), ("192.0.2.2", SMALL)]


@settings(max_examples=60, deadline=None)
@given(st.integers(SMALL, 1449), st.integers(SMALL + 1, 9000))
async def test_the_largest_that_comes_back_is_found_in_few_rounds(largest: int, full: int) -> None:
    wire = FakeWire()
    wire.largest["10.128.8.0"] = largest
    found = await measure(wire, Target("r2", "box2", "10.128.8.0", full, "a", "b", "box1", 1))
    assert found == Measured(0.001, min(largest, full))
    assert len(wire.sent) <= 1 + len(WAITS) + 1 + 5 * 18


async def test_packets_that_are_lost_by_chance_are_sent_again() -> None:
    wire = FakeWire()
    wire.losing = [True, True, False] * 2
    assert await measure(wire, TARGET) == Measured(0.001, 1450)
    wire.losing = [False, True, True, True]  # the full size, whenever it is tried first
    assert await measure(wire, TARGET) == Measured(0.001, 1450)
