"""`netvps network`: netvps/cli/machine/network.py; that `purge` becomes its program is in test_programs."""

from __future__ import annotations

import json

import pytest

from netvps import exit_codes
from netvps.cli.machine.network import network
from netvps.domain.finding import Finding, Severity
from netvps.domain.overlay.peer_health import Problem
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_it_is_shown_measured_checked_and_removed() -> None:
    assert list(network.commands) == ["show", "peers", "check", "reserve", "purge"]
    assert "Remove all of the overlay" in (network.commands["purge"].help or "")


def test_it_is_shown_in_numbers_and_by_runner(run: Run, fake: FakeClient) -> None:
    fake.problems = (Problem("box2 does not answer: see to it", "uid2"),)
    out = run("network", "show").out
    assert "10.128.0.0/10, a /22 for each runner" in out
    assert "identifier 7, UDP port 14789" in out
    assert "1 on the overlay, 2 not" in out
    assert "3 used, 4093 free" in out
    heading, box = out.splitlines()[-2:]
    assert heading.split() == ["NAME", "STATE", "OVERLAY", "SUBNET", "UNDERLAY"]
    assert box.split()[:2] == ["box1", "ONLINE"]
    assert "yes, but: box2 does not answer  10.128.0.0/22  192.0.2.1, 2001:db8::1 (mtu 1450)" in box
    assert "see to it" in run("network", "show", "-o", "wide").out


@pytest.mark.usefixtures("fake")
def test_it_is_shown_to_programs(run: Run) -> None:
    seen = json.loads(run("network", "show", "-o", "json").out)
    assert (seen["pool"], seen["port"], seen["runnersOff"]) == ("10.128.0.0/10", 14789, 2)


def test_findings_are_printed_like_the_doctors_and_fail_as_its(run: Run, fake: FakeClient) -> None:
    fake.findings = [
        Finding(Severity.FAIL, "session web.alice", "it is STOPPED", "netvps start web.alice"),
        Finding(Severity.OK, "links", "all well\x1b[2J"),
    ]
    ran = run("network", "check", "web", "db")
    assert ran.code == exit_codes.UNKNOWN
    first, second = ran.out.splitlines()
    assert first == "fail  session web.alice  it is STOPPED; netvps start web.alice"
    assert second.startswith("ok    links              all well")
    assert "\x1b" not in ran.out
    assert fake.asked == [("check_network", ("web", "db"))]
    found = json.loads(run("network", "check", "-o", "json").out)
    assert found[0] == {
        "check": "session web.alice",
        "verdict": "fail",
        "text": "it is STOPPED",
        "remedy": "netvps start web.alice",
    }


def test_warnings_alone_are_no_failure(run: Run, fake: FakeClient) -> None:
    fake.findings = [Finding(Severity.WARN, "MTU", "they differ", "set one")]
    ran = run("network", "check")
    assert (ran.code, ran.out) == (exit_codes.OK, "warn  MTU           they differ; set one\n")


def test_three_sessions_are_no_pair(run: Run, fake: FakeClient) -> None:
    ran = run("network", "check", "a", "b", "c")
    assert (ran.code, fake.asked) == (exit_codes.USAGE, [])
    assert "name two sessions" in ran.err
