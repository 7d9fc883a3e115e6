"""`netvps doctor` and its checks."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netvps.adapters.ca.opening import open_ca
from netvps.cli import checks, exit_codes
from netvps.cli.checks import Finding, Verdict
from netvps.errors import Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient


def _quiet(monkeypatch: pytest.MonkeyPatch, verdict: Verdict) -> None:
    """Checks of this machine that come out the same everywhere."""
    for name in ("engine", "clock", "agent"):
        monkeypatch.setattr(checks, name, lambda name=name: Finding(name, verdict, "as expected", ""))
    for name in ("disk", "programs"):
        monkeypatch.setattr(checks, name, list)
    monkeypatch.setattr(checks, "ports", lambda *, serving: [Finding("ports", Verdict.OK, str(serving))])


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    return open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC)).certificate


def test_all_well_is_0(run: Run, fake: FakeClient, certificate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _quiet(monkeypatch, Verdict.WARN)
    fake.info = replace(INFO, ca_certificate=certificate)
    ran = run("doctor")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("ok    server        local (unix:")
    assert "CA SHA-256" in lines[1]
    assert "warn  engine        as expected" in lines


def test_a_failure_is_1_with_its_remedy(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _quiet(monkeypatch, Verdict.OK)
    fake.errors["server_info"] = Unavailable("nobody answers\x1b[2J")
    ran = run("doctor", "-o", "json")
    assert ran.code == exit_codes.UNKNOWN
    found = json.loads(ran.out)
    assert (found[0]["check"], found[0]["verdict"]) == ("server", "fail")
    assert "\x1b" not in run("doctor").out


def test_the_dates_of_the_ca_are_held_against_the_clock(certificate: str) -> None:
    assert checks.authority(certificate).verdict is Verdict.OK
    assert checks.authority(certificate, now=0.0).verdict is Verdict.FAIL
    assert checks.authority("rubbish").verdict is Verdict.FAIL


def test_a_clock_before_the_installation_is_wrong() -> None:
    assert checks.clock().verdict is Verdict.OK
    assert checks.clock(datetime.now(UTC) - timedelta(days=3650)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\nOK", Verdict.OK),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", Verdict.FAIL),
        (b"rubbish\r\n\r\n", Verdict.FAIL),
    ],
)
def test_the_engine_is_pinged(answer: bytes, verdict: Verdict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    assert checks.engine().verdict is Verdict.FAIL  # there is none yet
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        assert checks.engine().verdict is verdict
        server.join(5)


def test_an_engine_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    monkeypatch.setattr(checks, "_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert "does not answer" in checks.engine().text


def test_ports_are_served_or_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setattr(checks, "PORTS", {port: "test"})
        assert checks.ports(serving=True)[0].verdict is Verdict.OK
        assert checks.ports(serving=False)[0].verdict is Verdict.WARN
    assert checks.ports(serving=True)[0].verdict is Verdict.WARN
    assert checks.ports(serving=False)[0].verdict is Verdict.OK


def test_room_and_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {finding.verdict for finding in checks.disk()} <= set(Verdict)
    assert [finding.verdict for finding in checks.programs()] == [Verdict.OK, Verdict.OK]
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert [finding.verdict for finding in checks.programs()] == [Verdict.FAIL, Verdict.FAIL]
    monkeypatch.setattr(platform, "machine", lambda: "vax")
    assert checks.agent().verdict is Verdict.FAIL
