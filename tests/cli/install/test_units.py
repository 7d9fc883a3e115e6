from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from netvps.cli.install import units

analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
PROGRAM = "/bin/true"
"""systemd-analyze wants a program that exists."""


@analyze
@pytest.mark.parametrize("shape", ["server", "runner"])
def test_systemd_accepts_the_unit(shape: str, tmp_path: Path) -> None:
    file = tmp_path / f"netvps-{shape}.service"
    file.write_text(units.render(shape, PROGRAM, {"NETVPS_LISTEN": "0.0.0.0"}, {"database_url": "/etc/hostname"}))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert file.name not in done.stderr


@analyze
@pytest.mark.parametrize(("shape", "most"), [("server", 2.5), ("runner", 8.0)])
def test_a_unit_is_exposed_no_more_than_it_needs(shape: str, most: float, tmp_path: Path) -> None:
    """The measure of systemd-analyze: 0 is closed, 10 is open."""
    file = tmp_path / f"netvps-{shape}.service"
    file.write_text(units.render(shape, PROGRAM, {}, {}))
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", file],
        capture_output=True,
        text=True,
        check=False,
    )
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None, done.stdout + done.stderr
    assert float(exposure[1]) <= most, done.stdout
