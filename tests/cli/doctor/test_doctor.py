"""`netvps doctor`: which checks it makes, what it prints, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.adapters.ca.opening import open_ca
from netvps.cli.doctor import checks, checks_machine
from netvps.domain.finding import Finding, Severity
from netvps.domain.overlay.peer_health import Problem
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient


def _quiet(monkeypatch: pytest.MonkeyPatch, verdict: Severity) -> None:
    """Checks of this machine that come out the same everywhere."""
    for module, name in ((checks_machine, "engine"), (checks, "clock"), (checks_machine, "agent")):
        monkeypatch.setattr(module, name, lambda *_, name=name, **__: Finding(verdict, name, "as expected", ""))
    for module, name in ((checks_machine, "disk"), (checks, "programs"), (checks_machine, "runner_certificate")):
        monkeypatch.setattr(module, name, lambda *_: [])
    for name in ("ports", "database"):
        monkeypatch.setattr(checks_machine, name, lambda *_, serving, name=name: _said(name, str(serving)))


def _said(name: str, text: str) -> list[Finding] | Finding:
    finding = Finding(Severity.OK, name, text)
    return [finding] if name == "ports" else finding


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    return open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC)).certificate


def test_all_well_is_0(run: Run, fake: FakeClient, certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _quiet(monkeypatch, Severity.WARN)
    fake.info = replace(INFO, ca_certificate=certificate)
    ran = run("doctor")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("ok    server        local (unix:")
    assert "CA SHA-256" in lines[1]
    assert "warn  engine        as expected" in lines


def test_a_failure_is_1_with_its_remedy(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _quiet(monkeypatch, Severity.OK)
    fake.errors["server_info"] = Unavailable("nobody answers\x1b[2J")
    ran = run("doctor", "-o", "json")
    assert ran.code == exit_codes.UNKNOWN
    found = json.loads(ran.out)
    assert (found[0]["check"], found[0]["verdict"]) == ("server", "fail")
    assert "\x1b" not in run("doctor").out


def test_each_check_has_a_name(run: Run, fake: FakeClient, certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _quiet(monkeypatch, Severity.OK)
    fake.info = replace(INFO, ca_certificate=certificate)
    names = [finding["check"] for finding in json.loads(run("doctor", "-o", "json").out)]
    assert names == [
        "server",
        "certificates",
        "clock",
        "engine",
        "disk limits",
        "gpus",
        "lxcfs",
        "ports",
        "database",
        "agent",
    ]


def test_wrong_settings_are_a_finding(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _quiet(monkeypatch, Severity.OK)
    fake.errors["server_info"] = Unavailable("nobody answers")
    monkeypatch.setenv("NETVPS_SSH_PORT", "many")
    found = {one["check"]: one for one in json.loads(run("doctor", "-o", "json").out)}
    assert found["settings"]["verdict"] == "fail"
    assert "ssh_port" in found["settings"]["text"]


def test_a_machine_without_sessions_is_judged_by_what_it_needs(
    run: Run, fake: FakeClient, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _quiet(monkeypatch, Severity.FAIL)  # no Docker, and no agent
    monkeypatch.setattr(checks, "clock", lambda **_: Finding(Severity.OK, "clock", "right"))
    monkeypatch.setattr(checks_machine, "runs_no_sessions", lambda _: True)
    fake.info = replace(INFO, ca_certificate=certificate)
    fake.no_sessions = True
    ran = run("doctor", "-o", "json")
    assert ran.code == 0
    found = json.loads(ran.out)
    assert [one["check"] for one in found] == ["server", "certificates", "clock", "engine", "ports", "database"]
    assert "--no-sessions" in found[3]["text"]
    fake.overlay, fake.problems = False, (Problem("no overlay: changing the network needs CAP_NET_ADMIN"),)
    ran = run("doctor")
    assert ran.code == exit_codes.UNKNOWN
    assert "it runs no sessions, and is not on the overlay: changing the network needs CAP_NET_ADMIN" in ran.out
