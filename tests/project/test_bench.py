"""The benchmarks are listed, and their harness counts right; they themselves run when people ask for them."""

from __future__ import annotations

import asyncio
import importlib
import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import grpc
import pytest

from bench import converge, report, result
from bench.__main__ import BENCHES, SMOKE
from bench.bare import CALL, TELL, WATCH, bare_server
from bench.hosts import LAB_NAME
from bench.machine import machine, versions
from bench.plot import plot
from bench.result import Goal, Measure, Outcome, Row, number, percentile, rounds, saved, spread, verdict
from bench.turns import in_turn
from bench.watchers import Audience, Bare
from netvps.services.network.netmap import WINDOW


@pytest.mark.parametrize("name", BENCHES)
def test_each_benchmark_can_be_run_and_is_documented(name: str, root: Path) -> None:
    assert callable(importlib.import_module(f"bench.{name}").measure)
    assert name in (root / "scripts/bench").read_text().splitlines()[1]


def test_a_lab_has_the_name_that_its_benchmark_gives_it(root: Path) -> None:
    assert f"lab=${{{LAB_NAME}:-" in (root / "scripts/lab").read_text()


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


def test_ratios_by_rounds_are_of_neighbours() -> None:
    """All of the machine was busy in the second round: of neighbours, ours were always twice as slow."""
    row = Row("row", "ms", {"ours": [2.0, 20.0, 2.0], "theirs": [1.0, 10.0, 1.0]})
    assert row.by_rounds() == [2.0, 2.0, 2.0]
    assert rounds(row) == "n = 3, ratios by rounds 2 … 2 … 2"
    assert spread(row.samples["ours"]) == "2 (min 2)"
    assert rounds(Row("alone", "ms", {"ours": [1.0]})) == "n = 1"
    assert rounds(Row("of other lengths", "ms", {"ours": [1.0], "theirs": [1.0, 2.0]})) == "n = 1"


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


def test_a_page_of_all_says_where_and_with_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(report, "_FOLDER", tmp_path / "docs")
    when = datetime(2026, 5, 4, tzinfo=UTC)
    for name in BENCHES:
        row = Row(f"a row of {name}", "ms", {"netvps": [1.0, 2.0, 3.0], "reference": [2.0, 2.0, 2.0]})
        Outcome(name, [row], when, "2 CPUs", "netvps 0.1.0", 3.5).save()
    page = report.write([*BENCHES]).read_text()
    assert "the ratios count" in page
    for name in BENCHES:
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert f"`{name}`: " in section  # what is measured, in its module's words
        assert "2026-05-04, on 2 CPUs; netvps 0.1.0; load 3.5 at its end." in section
        assert f"| a row of {name} (ms; n = 3, ratios by rounds 0.5 … 1 … 1.5) |" in section
        assert "| netvps: 2 (min 1); reference: 2 (min 2) | 1 × |" in section  # noqa: RUF001 — the sign is meant
        assert ET.fromstring((tmp_path / f"docs/{name}.svg").read_text()).tag.endswith("svg")


def test_a_later_page_keeps_what_was_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_FOLDER", tmp_path / "docs")
    text = ""
    for folder, median in (("monday", 1.0), ("tuesday", 2.0)):
        monkeypatch.setattr(result, "FOLDER", tmp_path / folder)
        for name in ("create", "cli", "api") if folder == "monday" else ("cli",):
            Outcome(name, [Row("row", "ms", {"ours": [median]})]).save()
        text = report.write(["create", "cli", "api"]).read_text()
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == ["create", "cli", "api"]
    assert re.findall(r"ours: (\d)", text) == ["1", "2", "1"]
    monkeypatch.setattr(result, "FOLDER", tmp_path / "never")
    assert report.write(["create", "cli", "api"]).read_text() == text


def test_the_machine_and_the_versions_are_named() -> None:
    assert re.search(r"\d+ CPUs.*, \d+ GiB of memory, Linux \d", machine())
    assert re.fullmatch(r"netvps \S+( \(\S+\))?(, Docker \S+)?, Python 3\.\S+, gRPC \S+", versions())


def test_what_cannot_be_found_out_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert re.fullmatch(r"netvps \S+, Python \S+, gRPC \S+", versions())


async def test_the_reference_answers_with_the_size_that_is_asked_for(tmp_path: Path) -> None:
    """And sends all watchers what it receives."""
    with bare_server(tmp_path / "s") as (address, _):
        async with grpc.aio.insecure_channel(address) as channel:
            assert await channel.unary_unary(CALL, None, None)(b"5") == bytes(5)
            watchers = [channel.unary_stream(WATCH, None, None)(b"") for _ in range(2)]
            assert [await watcher.read() for watcher in watchers] == [b"", b""]
            assert await channel.unary_unary(TELL, None, None)(b"news") == b"news"
            assert [await watcher.read() for watcher in watchers] == [b"news", b"news"]


async def test_a_change_is_timed_until_each_of_an_audience_has_heard(tmp_path: Path) -> None:
    with bare_server(tmp_path / "s") as (address, _):
        async with grpc.aio.insecure_channel(address) as channel, asyncio.TaskGroup() as group:
            audience = Audience([Bare(channel)])
            watching = await audience.gather(group, 7)
            for _ in range(2):
                delays = await audience.hear()
                assert len(delays) == 7
                assert min(delays) > 0
            for task in watching:
                task.cancel()


@pytest.mark.e2e
def test_simulated_runners_hear_of_who_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converge, "_RUNNERS", 6)
    monkeypatch.setattr(converge, "_QUIET", 0.1)
    worst, medians = converge.measure(1)
    assert [len(samples) for samples in (*worst.samples.values(), *medians.samples.values())] == [1] * 4
    assert min(worst.samples["netvps"]) >= min(medians.samples["netvps"]) > WINDOW * 1000
