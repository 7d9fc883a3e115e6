"""`netvps why-awake`: what keeps a session awake, and what will be done."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from netvps import exit_codes
from netvps.domain.session.session import ChangeCause
from netvps.domain.sleep.idle import Signal, SignalKind, SignalState, SleepPlan
from netvps.errors import NotFound
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient

LATER = NOW + timedelta(hours=1)
SIGNALS = (
    Signal(SignalKind.SSH, SignalState.IDLE, NOW, LATER, 2),
    Signal(SignalKind.CPU, SignalState.IDLE, None, None, 0.02),
    Signal(SignalKind.LEASE),
)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.cli.sleep.why_awake.moment_words", lambda time: f"{time:%H:%M}")


@pytest.mark.usefixtures("zone")
def test_the_plan_and_each_signal(run: Run, fake: FakeClient) -> None:
    fake.plan = SleepPlan(
        NOW, signals=SIGNALS, pause_time=NOW, stop_time=LATER, stop_cause=ChangeCause.IDLE, reason="a person paused it"
    )
    ran = run("why-awake", "dev1")
    assert ran.code == 0
    assert [line.split("  ") for line in ran.out.splitlines()[:3]] == [
        ["stops at 04:04 (idle)"],
        ["is paused at 03:04 (idle)"],
        ["is not stopped for being idle: a person paused it"],
    ]
    rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in ran.out.splitlines()[4:]]
    assert rows == [
        ["SIGNAL", "STATE", "LAST SEEN", "KEEPS IT AWAKE UNTIL"],
        ["ssh connections", "idle (2 open)", "03:04", "04:04"],
        ["cpus", "idle (0.02 busy)", "-", "-"],
        ["lease (nv keep)", "none", "-", "-"],
    ]


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (SleepPlan(NOW), "stays awake"),
        (SleepPlan(NOW, stop_time=NOW, stop_cause=ChangeCause.LIFETIME), "stops at 03:04 (end of its lifetime)"),
        (SleepPlan(NOW, stop_time=NOW, stop_cause=ChangeCause.SCHEDULE), "stops at 03:04 (end of its awake hours)"),
        (SleepPlan(NOW, pause_time=LATER, stop_time=NOW, stop_cause=ChangeCause.IDLE), "stops at 03:04 (idle)"),
    ],
)
def test_what_will_be_done_in_a_line(run: Run, fake: FakeClient, plan: SleepPlan, said: str) -> None:
    fake.plan = plan
    assert run("why-awake", "dev1").out.splitlines() == [said]


def test_programs_get_the_form_of_the_api(run: Run, fake: FakeClient) -> None:
    fake.plan = SleepPlan(NOW, signals=SIGNALS, stop_time=LATER, stop_cause=ChangeCause.IDLE)
    found = json.loads(run("why-awake", "dev1", "-o", "json").out)
    assert (found["stopTime"], found["stopCause"]) == ("2026-01-02T04:04:05Z", "CHANGE_CAUSE_IDLE")
    assert found["signals"][0]["kind"] == "SLEEP_SIGNAL_KIND_SSH"


def test_a_session_that_is_not_there(run: Run, fake: FakeClient) -> None:
    fake.errors["sleep_plan"] = NotFound("no session dev1.alice: see netvps ls")
    assert run("why-awake", "dev1").code == exit_codes.NOT_FOUND
