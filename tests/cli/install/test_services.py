from __future__ import annotations

import os
from pathlib import Path

import pytest

from netvps.cli.install import services, units
from netvps.cli.machine import service
from tests.cli.conftest import Run


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("NETVPS_") or name == "DOCKER_HOST"]:
        monkeypatch.delenv(name)


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Calls of systemctl on a machine that systemd runs."""
    calls: list[str] = []
    monkeypatch.setattr(service, "RUNNING", tmp_path)
    monkeypatch.setattr(service, "SYSTEM_UNITS", tmp_path)
    monkeypatch.setattr(service, "systemctl", lambda *words: calls.append(" ".join(words)))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return calls


def test_a_unit_has_the_shells_settings_and_no_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_LISTEN", "0.0.0.0")
    ran = run(
        *("service", "render", "--shape", "server", "--config", "/etc/netvps.toml"),
        *("--credential", "database_url=/etc/netvps/url"),
    )
    assert "Environment=NETVPS_LISTEN=0.0.0.0\n" in ran.out
    assert "Environment=NETVPS_CONFIG=/etc/netvps.toml\n" in ran.out
    assert "LoadCredential=database_url:/etc/netvps/url\n" in ran.out
    monkeypatch.setenv("NETVPS_DATABASE_URL", "postgresql://u:hush@h/d")
    ran = run("service", "render", "--shape", "server")
    assert ran.code == 10
    assert "hush" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("shape", "word", "said"),
    [
        ("server", "join_token=/x", "'join_token' is no secret of the shape server; it has database_url"),
        ("runner", "join_token=x", "give NAME=FILE, with the whole path"),
        ("all-in-one", "database_url=/x", "it has none"),
    ],
)
def test_a_wrong_credential_is_refused(run: Run, shape: str, word: str, said: str) -> None:
    ran = run("service", "render", "--shape", shape, "--credential", word)
    assert ran.code == 2
    assert said in ran.err


def test_a_unit_is_installed_once_and_removed(run: Run, systemctl: list[str], tmp_path: Path) -> None:
    file = tmp_path / "netvps-server.service"
    for _ in range(2):
        assert run("service", "install", "--shape", "server").code == 0
    assert file.read_text() == units.render("server", service.program(), {}, {})
    assert systemctl == ["daemon-reload", "enable --now netvps-server.service"] * 2
    file.write_text("mine")
    ran = run("service", "install", "--shape", "server")
    assert (ran.code, file.read_text()) == (5, "mine")
    assert run("service", "uninstall", "--shape", "server").code == 0
    assert not file.exists()
    assert systemctl[-2:] == ["disable --now netvps-server.service", "daemon-reload"]
    assert "nothing to uninstall" in run("service", "uninstall", "--shape", "server").err


def test_without_systemd_it_says_what_else_to_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RUNNING", tmp_path / "none")
    ran = run("service", "install", "--shape", "runner")
    assert ran.code == 10
    assert "`netvps service render` prints the unit" in ran.err
    assert services.SHAPES == ("all-in-one", "server", "runner")
