"""The benchmarks are listed, and their harness counts right; they themselves run when people ask for them."""

from __future__ import annotations

import importlib
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import report, result
from bench.__main__ import BENCHES, SMOKE
from bench.plot import plot
from bench.result import Goal, Measure, Outcome, Row, number, percentile, saved, verdict
from bench.turns import in_turn


@pytest.mark.parametrize("name", BENCHES)
def test_each_benchmark_can_be_run_and_is_told_of(name: str, root: Path) -> None:
    assert callable(importlib.import_module(f"bench.{name}").measure)
    assert name in (root / "scripts/bench").read_text().splitlines()[1]


def test_the_smoke_test_is_of_benchmarks() -> None:
    assert set(SMOKE) <= set(BENCHES)


def test_things_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def thing(name: str) -> float:
        order.append(name)
        return float(len(order))

    samples = in_turn(2, {"a": lambda: thing("a"), "b": lambda: thing("b")})
    assert "".join(order) == "ababab"
    assert samples == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_a_goal_is_held_against_its_measure() -> None:
    samples = {"ours": [3.0, 1.0, 2.0], "theirs": [1.0, 1.0, 4.0], "others": [9.0]}
    expected = {Measure.RATIO: 2.0, Measure.DIFFERENCE: 1.0, Measure.MEDIAN: 2.0, Measure.P99: 3.0}
    for measure, value in expected.items():
        row = Row("row", "ms", samples, Goal(measure, 2.0))
        assert row.value() == value
        assert row.met() is (value <= 2.0)
        assert Row("row", "ms", samples, Goal(measure, 2.0, at_least=True)).met() is (value >= 2.0)


def test_without_a_reference_there_is_no_ratio() -> None:
    row = Row("row", "ms", {"ours": [1.0]})
    assert (row.value(), row.met(), verdict(row)) == (None, None, "")


@pytest.mark.parametrize(("percent", "expected"), [(50, 50.0), (99, 99.0), (100, 100.0), (0, 1.0)])
def test_percentiles_are_of_the_nearest_rank(percent: int, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], percent) == expected


def test_a_verdict_says_what_was_wanted() -> None:
    row = Row("row", "ms", {"ours": [300.0], "theirs": [200.0]}, Goal(Measure.RATIO, 1.25))
    assert verdict(row) == "1.5 × (goal ≤ 1.25 ×: MISSED)"  # noqa: RUF001 — the sign is meant
    assert [number(value) for value in (1234.5, 12.34, 0.1234)] == ["1,234", "12.3", "0.123"]


def test_an_outcome_becomes_a_page_with_a_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(report, "_FOLDER", tmp_path / "docs")
    outcome = Outcome("cli", [Row("a < b", "ms", {"ours": [1.0, 2.0], "theirs": [2.0, 3.0]}, Goal(Measure.RATIO, 1.0))])
    assert saved("cli") is None
    outcome.save()
    assert saved("cli") == outcome
    page = report.write(["cli", "never-run"])
    assert "0.6 × (goal ≤ 1 ×: met)" in page.read_text()  # noqa: RUF001 — the sign is meant
    assert ET.fromstring((tmp_path / "docs/cli.svg").read_text()).tag.endswith("svg")
    assert "a &lt; b" in plot(outcome.rows)
