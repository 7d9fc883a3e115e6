"""Checks of the server, of clocks and of programs, each also where it fails."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netvps.adapters.ca.opening import open_ca
from netvps.cli.doctor import checks
from netvps.domain.finding import Severity
from netvps.domain.runner.runner import Runner, RunnerState


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    return open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC)).certificate


def test_the_dates_of_the_ca_are_held_against_the_clock(certificate: str) -> None:
    assert checks.authority(certificate).severity is Severity.OK
    assert checks.authority(certificate, now=0.0).severity is Severity.FAIL
    assert checks.authority("rubbish").severity is Severity.FAIL


def test_a_clock_before_the_installation_is_wrong() -> None:
    assert checks.clock().severity is not Severity.FAIL
    assert checks.clock(datetime.now(UTC) - timedelta(days=3650)).severity is Severity.FAIL


@pytest.mark.parametrize(
    ("ago", "wrong"), [(0, False), (40, False), (-30, False), (3600, True), (-3600, True), (86400, True)]
)
def test_a_clock_that_is_not_the_servers_is_wrong(ago: float, wrong: bool) -> None:
    now = datetime.now(UTC)
    found = checks.clock(now, heard=now - timedelta(seconds=ago))
    assert (found.severity is Severity.FAIL) == wrong
    assert ("the clocks differ" in found.text) == wrong


@pytest.mark.parametrize(("shown", "verdict"), [(True, Severity.OK), (False, Severity.WARN)])
def test_a_clock_that_is_not_synchronised_is_reported(
    shown: bool, verdict: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    assert checks._synchronized() in {True, False}  # whatever this machine's kernel says
    monkeypatch.setattr(checks, "_synchronized", lambda: shown)
    assert checks.clock().severity is verdict


def test_programs_are_there_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [finding.severity for finding in checks.programs()] == [Severity.OK, Severity.OK]
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert [finding.severity for finding in checks.programs()] == [Severity.FAIL, Severity.FAIL]


def test_what_is_wrong_with_runners_that_are_online_is_reported() -> None:
    now = datetime.now(UTC)
    well = Runner("u1", "box1", now, now, RunnerState.ONLINE)
    away = replace(well, name="box2", engine_problem="Docker does not answer")
    open_ = replace(well, name="box3", isolation_problem="no nft")
    silent = replace(away, state=RunnerState.OFFLINE)
    assert [(found.subject, found.severity) for found in checks.runners([well, away, open_, silent])] == [
        ("runner box2", Severity.FAIL),
        ("runner box3", Severity.WARN),
    ]
