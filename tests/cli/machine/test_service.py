"""`netvps up --install` and `netvps down --uninstall`, with a systemctl that notes what it is asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import netvps.cli.machine.up as up_module
from netvps import exit_codes
from netvps.cli.machine import service
from tests.cli.conftest import Run

Asked = Callable[[], list[str]]


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that systemd runs; `netvps up` starts well."""
    (tmp_path / "systemd").mkdir()
    monkeypatch.setattr(service, "RUNNING", tmp_path / "systemd")
    monkeypatch.setattr(service, "SYSTEM_UNITS", tmp_path / "units")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(up_module, "command", lambda _program, _arguments: [sys.executable, "-c", ""])
    return tmp_path / "units"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What systemctl was asked; a service that was started is active."""
    program, log = tmp_path / "bin/systemctl", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\n[ "$1" != is-active ] || grep -q "^start" {log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return lambda: log.read_text().splitlines() if log.exists() else []


def test_install_writes_a_unit_that_starts_now_and_at_each_boot(run: Run, units: Path, asked: Asked) -> None:
    ran = run("up", "--install", "--state-dir", "/srv/netvps")
    assert ran.code == 0, ran.err
    unit = (units / "netvps.service").read_text()
    assert "NETVPS_STATE_DIR=/srv/netvps" in unit
    assert asked() == ["daemon-reload", "enable netvps.service", "is-active --quiet netvps.service",
                       "start netvps.service"]  # fmt: skip
    assert "`netvps down --uninstall`" in ran.err


def test_a_later_up_leaves_the_start_to_systemd(run: Run, units: Path, asked: Asked) -> None:
    units.mkdir()
    (units / "netvps.service").touch()
    assert run("up").code == 0
    assert "start netvps.service" in asked()
    assert run("up").code == 0
    assert asked().count("start netvps.service") == 1


def test_uninstall_removes_it(run: Run, units: Path, asked: Asked) -> None:
    units.mkdir()
    (units / "netvps.service").touch()
    assert "removed" in run("down", "--uninstall").err
    assert not (units / "netvps.service").exists()
    assert asked() == ["disable --now netvps.service", "daemon-reload"]
    assert "nothing to uninstall" in run("down", "--uninstall").err


def test_a_machine_without_systemd_gets_a_remedy(run: Run, units: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RUNNING", units / "nothing")
    ran = run("up", "--install")
    assert ran.code == exit_codes.CONFIGURATION
    assert "`netvps up --foreground`" in ran.err
    assert not units.exists()


@pytest.mark.usefixtures("units")
def test_an_account_has_a_unit_of_its_own(
    run: Run, asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    refused = run("up", "--install")
    assert refused.code == exit_codes.CONFIGURATION
    assert "loginctl enable-linger" in refused.err
    monkeypatch.setattr(service, "_user_manager", lambda: tmp_path)
    ran = run("up", "--install")
    assert ran.code == 0, ran.err
    assert "WantedBy=default.target" in (tmp_path / ".config/systemd/user/netvps.service").read_text()
    assert "loginctl enable-linger" in ran.err
    assert asked()[0] == "--user daemon-reload"


@pytest.mark.usefixtures("units", "asked")
def test_the_complaint_of_systemctl_is_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\necho Access denied >&2\nexit 1\n")
    ran = run("up", "--install")
    assert ran.code == exit_codes.CONFIGURATION
    assert "systemctl daemon-reload failed: Access denied; `journalctl -u netvps -n 20`" in ran.err
