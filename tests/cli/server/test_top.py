"""`netvps top`."""

from __future__ import annotations

import json
import sys

import pytest

from netvps import exit_codes
from netvps.domain.metrics import Measurement, MetricSample
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient

DEV1 = MetricSample("sessions/dev1.alice", NOW, Measurement(0.987, 3 << 20, 1536.0, 0.0))
LAB1 = MetricSample("runners/lab1", NOW, Measurement(2.0, 1 << 30))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.cli.server.top.random.uniform", lambda *_: 0.0)
    monkeypatch.setattr("netvps.cli.server.top._COMPLETE", 0.0)


def test_a_table_once(run: Run, fake: FakeClient) -> None:
    fake.samples = [[DEV1, LAB1]]
    ran = run("top", "dev1", "-r", "lab1", "--once")
    assert ran.out.splitlines() == [
        "NAME          CPU    MEMORY  RECEIVED  SENT",
        "runners/lab1  200 %  1G      unknown   unknown",
        "dev1          99 %   3M      1.5K/s    0/s",
    ]
    assert (ran.code, fake.asked) == (0, [("watch_metrics", ("dev1",), ("lab1",), "")])


def test_all_sessions_have_their_owner_in_the_name(run: Run, fake: FakeClient) -> None:
    fake.samples = [[DEV1]]
    assert "dev1.alice  99 %" in run("top", "-a", "-1").out
    assert fake.asked == [("watch_metrics", (), (), "-")]


def test_lines_for_programs_are_the_protos_json(run: Run, fake: FakeClient) -> None:
    fake.samples = [[DEV1], [], [LAB1]]
    first, second = run("top", "-o", "jsonl").out.splitlines()[:2]
    assert json.loads(first) == {
        "name": "sessions/dev1.alice",
        "time": "2026-01-02T03:04:05Z",
        "cpus": 0.987,
        "memoryBytes": "3145728",
        "receivedRate": 1536.0,
        "sentRate": 0.0,
    }
    assert json.loads(second)["name"] == "runners/lab1"


def test_a_lost_server_is_tried_again_some_times(run: Run, fake: FakeClient) -> None:
    fake.errors = {"watch_metrics": Unavailable("away")}
    ran = run("top")
    assert (ran.code, len(fake.asked), ran.err.count("trying again")) == (exit_codes.UNAVAILABLE, 8, 7)


def test_a_table_of_nothing_says_so(run: Run, fake: FakeClient) -> None:
    fake.samples = [[]]
    ran = run("top", "dev1", "--once")
    assert (ran.code, "no samples" in ran.err) == (exit_codes.UNAVAILABLE, True)


def test_a_resource_without_samples_goes_from_the_table(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, *[0.0] * 3, *[4.0] * 3])
    monkeypatch.setattr("netvps.cli.server.top.time.monotonic", lambda: next(times, 6.0))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    fake.samples = [[DEV1], [LAB1], [LAB1]]
    tables = run("top", "dev1", "-r", "lab1").out.split("\n\n")
    assert ["dev1" in table for table in tables[:3]] == [True, True, False]


@pytest.mark.usefixtures("fake")
def test_all_and_names_exclude_each_other(run: Run) -> None:
    assert run("top", "-a", "dev1").code == exit_codes.USAGE


def test_a_table_once_waits_until_every_resource_has_a_sample(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.cli.server.top._COMPLETE", 2.5)
    times = iter([0.0, *[1.0] * 2, *[2.0] * 2])
    monkeypatch.setattr("netvps.cli.server.top.time.monotonic", lambda: next(times, 3.0))
    fake.samples = [[LAB1], [DEV1], [LAB1]]
    ran = run("top", "-1")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["NAME", "runners/lab1", "dev1"]
