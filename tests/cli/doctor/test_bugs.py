"""A bug of netvps itself is one line, and a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.doctor.bugs import report
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_a_bug_is_one_line_and_its_traceback_is_in_a_log(run: Run, fake: FakeClient, home: Path) -> None:
    fake.errors["list_sessions"] = KeyError("oops")
    ran = run("ls")
    log = home / "state/log/cli.log"
    assert ran.code == exit_codes.UNKNOWN
    assert ran.err == (
        f"netvps: a bug of netvps: KeyError: 'oops'; details are in {log}, and NETVPS_DEBUG=1 shows them\n"
    )
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_without_a_place_for_the_log_the_line_is_said_all_the_same(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").touch()
    monkeypatch.setenv("NETVPS_STATE_DIR", str(home / "file"))
    assert report(KeyError("oops")) == "a bug of netvps: KeyError: 'oops'; NETVPS_DEBUG=1 shows more"
