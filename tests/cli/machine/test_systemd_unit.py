"""The unit that `netvps up --install` writes is one that systemd takes."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from netvps.cli.machine.systemd_unit import NAME, lasting, render
from netvps.errors import ConfigError


def _parsed(unit: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read_string(unit)
    return parser


def test_the_one_of_the_system_waits_for_docker_and_the_network() -> None:
    unit = _parsed(render("/usr/local/bin/netvps", {}, system=True))
    assert "docker.service" in unit["Unit"]["After"]
    assert unit["Service"]["ExecStart"] == "/usr/local/bin/netvps up --foreground"
    assert unit["Service"]["Type"] == "notify"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_that_of_an_account_names_no_units_of_the_system() -> None:
    unit = render("/home/eve/.local/bin/netvps", {}, system=False)
    assert "docker.service" not in unit
    assert _parsed(unit)["Install"]["WantedBy"] == "default.target"


def test_values_arequoted_as_systemd_reads_them() -> None:
    unit = render("/opt/my netvps/bin/netvps", {"NETVPS_STATE_DIR": '/a "b" 100%'}, system=True)
    assert 'ExecStart="/opt/my netvps/bin/netvps" up' in unit
    assert 'Environment="NETVPS_STATE_DIR=/a \\"b\\" 100%%"' in unit


def test_settings_of_the_shell_are_kept_and_secrets_refused() -> None:
    shell = {"NETVPS_STATE_DIR": "/s", "NETVPS_CONTEXT": "other", "DOCKER_HOST": "unix:///d", "HOME": "/root"}
    assert lasting(shell) == {"NETVPS_STATE_DIR": "/s", "DOCKER_HOST": "unix:///d"}
    with pytest.raises(ConfigError, match="NETVPS_DATABASE_URL_FILE"):
        lasting({"NETVPS_DATABASE_URL": "postgresql://me:hush@h/d"})


@pytest.mark.parametrize("scope", ["--system", "--user"])
def test_systemd_accepts_it(scope: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    unit = tmp_path / NAME
    environment = {"NETVPS_STATE_DIR": "/var/lib/my netvps"}
    unit.write_text(render(shutil.which("true") or "/bin/true", environment, system=scope == "--system"))
    environ = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["systemd-analyze", "verify", scope, "--man=no", "--recursive-errors=no", str(unit)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environ)
    assert (answer.returncode, answer.stderr) == (0, "")
