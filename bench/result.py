"""The result of a benchmark: samples by name, their statistics, and whether a goal is met; stored as JSON."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from bench.machine import machine, versions

FOLDER: Final = Path(__file__).parent / "results"


class Measure(StrEnum):
    """The measure of a row that is compared with its goal; "ours" is its first series, "theirs" the second."""

    RATIO = "ratio of medians"
    DIFFERENCE = "difference of medians"
    MEDIAN = "median"
    P99 = "99th percentile"


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit: an upper (or, with `at_least`, lower) bound of the measure, in the row's unit or as a ratio."""

    measure: Measure
    limit: float
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `samples` are by series, in the order in which they are shown, ours first."""

    label: str
    unit: str
    samples: dict[str, list[float]]
    goal: Goal | None = None

    def value(self) -> float | None:
        """The value compared with the goal; without a goal, the ratio to the second series, if any."""
        ours, *others = self.samples.values()
        measure = self.goal.measure if self.goal else Measure.RATIO
        match measure:
            case Measure.MEDIAN:
                return statistics.median(ours)
            case Measure.P99:
                return percentile(ours, 99)
        if not others:
            return None
        first, second = statistics.median(ours), statistics.median(others[0])
        if measure is Measure.DIFFERENCE:
            return first - second
        return first / second if second else None

    def by_rounds(self) -> list[float]:
        """Ratios to the second series per round: both samples of a round had the same load."""
        ours, *others = self.samples.values()
        if not others or len(ours) != len(others[0]) or not all(others[0]):
            return []
        return [mine / theirs for mine, theirs in zip(ours, others[0], strict=True)]

    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        value = self.value()
        if self.goal is None or value is None:
            return None
        return value >= self.goal.limit if self.goal.at_least else value <= self.goal.limit


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a benchmark, with machine and versions."""

    bench: str
    rows: list[Row]
    when: datetime = field(default_factory=lambda: datetime.now(UTC))
    machine: str = field(default_factory=machine)
    versions: str = field(default_factory=versions)
    load: float | None = None
    """Load average of the last minute, including the benchmark's own processes; None if not measured."""

    def save(self) -> Path:
        """Writes the outcome, replacing the previous one; returns the file."""
        FOLDER.mkdir(exist_ok=True)
        file = FOLDER / f"{self.bench}.json"
        file.write_bytes(_JSON.dump_json(self, indent=1) + b"\n")
        return file


_JSON: Final = TypeAdapter(Outcome)


def saved(bench: str) -> Outcome | None:
    """Loads the last outcome of a benchmark; None if it was never run here."""
    file = FOLDER / f"{bench}.json"
    return _JSON.validate_json(file.read_bytes()) if file.exists() else None


def percentile(samples: list[float], percent: int) -> float:
    """Returns the nearest-rank percentile of at least one sample."""
    ordered = sorted(samples)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def number(value: float) -> str:
    """Formats a number with three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(samples: list[float]) -> str:
    """Formats median and minimum of at least one sample: other load only ever adds time."""
    return f"{number(statistics.median(samples))} (min {number(min(samples))})"


def rounds(row: Row) -> str:
    """Formats the number of rounds, and the lowest, median and highest of their ratios, if any."""
    count = f"n = {len(next(iter(row.samples.values())))}"
    ratios = row.by_rounds()
    if not ratios:
        return count
    low, middle, high = (number(of(ratios)) for of in (min, statistics.median, max))
    return f"{count}, ratios by rounds {low} … {middle} … {high}"


def verdict(row: Row) -> str:
    """Formats the measure, its goal, and whether it is met."""
    value = row.value()
    if value is None:
        return ""
    if row.goal is None:
        return f"{number(value)} ×"
    unit = "×" if row.goal.measure is Measure.RATIO else row.unit
    sign = "≥" if row.goal.at_least else "≤"
    what = "" if row.goal.measure is Measure.RATIO else f"{row.goal.measure} "
    met = "met" if row.met() else "MISSED"
    return f"{what}{number(value)} {unit} (goal {sign} {number(row.goal.limit)} {unit}: {met})"
