"""What people in a session read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from netvps.domain.session.session import ChangeCause
from netvps.domain.sleep.idle import Signal, SignalKind, SignalState, SleepPlan
from netvps.domain.sleep.policy import SleepDefaults
from netvps.domain.sleep.words import greeting, signal_line, span, status, warning
from tests.domain.sleep.test_idle import NOW, RUNNING, ago, plan, seen, with_policy


def test_a_login_learns_how_long_the_session_stays_awake() -> None:
    said = greeting(RUNNING, SleepDefaults(), NOW)
    assert said.startswith(
        "It is paused after 30m without activity, stops after 1h without activity. To keep it awake:"
    )
    hard = with_policy(RUNNING, pause_after=0.0, stop_after=0.0, lifetime=43_200.0, awake_hours="mon-fri 08:00-18:00")
    assert "It stops 12h after its start, stops at the end of mon-fri 08:00-18:00 UTC." in greeting(
        hard, SleepDefaults(60, 60), NOW
    )
    kept = replace(RUNNING, kept_until=NOW + timedelta(hours=1))
    assert "Kept awake until 2026-05-04 13:00:00 UTC." in greeting(kept, SleepDefaults(), NOW)
    assert "Kept" not in greeting(kept, SleepDefaults(), NOW + timedelta(hours=2))
    assert greeting(with_policy(RUNNING, pause_after=None, stop_after=None), SleepDefaults(), NOW) == ""


def test_the_warning_says_when_why_and_what_to_do() -> None:
    at = NOW + timedelta(minutes=5)
    said = warning(SleepPlan(NOW, stop_time=at, stop_cause=ChangeCause.IDLE))
    assert said.startswith(
        "netvps: this session stops in 5m, at 2026-05-04 12:05:00 UTC, because it is idle: type something"
    )
    assert "nv keep 2h" in warning(SleepPlan(NOW, stop_time=at, stop_cause=ChangeCause.SCHEDULE))
    assert "save your work" in warning(SleepPlan(NOW, stop_time=at, stop_cause=ChangeCause.LIFETIME))
    assert warning(SleepPlan(NOW)) == ""


def test_the_status_has_each_signal() -> None:
    lines = status(plan(replace(RUNNING, desired_time=ago(10)), seen(last_byte_time=ago(5)))).splitlines()
    assert lines[0] == "stops at 2026-05-04 12:55:00 UTC, because it is idle then"
    assert lines[1] == "is paused at 2026-05-04 12:25:00 UTC, if no one is connected"
    assert "ssh: last 2026-05-04 11:55:00 UTC, keeps it awake until 2026-05-04 12:55:00 UTC" in lines
    assert "is not stopped for being idle: active or not known: AGENT" in status(plan(RUNNING, None))
    assert signal_line(Signal(SignalKind.CPU, SignalState.UNKNOWN)) == "cpu: not known, which counts as active"


def test_spans_have_two_units_at_most() -> None:
    assert [span(seconds) for seconds in (0.2, 59, 60, 5400, 90_061)] == ["1s", "59s", "1m", "1h30m", "1d1h"]
