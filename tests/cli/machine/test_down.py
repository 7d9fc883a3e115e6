"""`netvps up` and `down`: a process in the background, distinguished from all others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.process.pid_file import start_time
from tests.cli.conftest import Run

# Holds the lock and waits for SIGTERM, or ignores it if asked to.
_PROGRAM = """
import fcntl, json, os, signal, sys
lock = os.open(sys.argv[1] + "/up.lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(lock, fcntl.LOCK_EX)
signal.signal(signal.SIGTERM, signal.SIG_IGN if sys.argv[2] == "deaf" else lambda *_: sys.exit(0))
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def state(home: Path) -> Path:
    (home / "state").mkdir()
    return home / "state"


@pytest.fixture
def running(state: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    mood = getattr(request, "param", "willing")
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(state), mood], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        shown = {"pid": process.pid, "started": start_time(process.pid)}
        (state / "up.pid").write_text(json.dumps(shown))
        try:
            yield process
        finally:
            process.kill()


def test_nothing_to_end_is_a_success(run: Run, state: Path) -> None:
    assert run("down").code == 0
    (state / "up.lock").touch()
    (state / "up.pid").write_text(json.dumps({"pid": os.getpid(), "started": 1}))
    ran = run("down")
    assert (ran.code, ran.err) == (
        0,
        f"netvps: nothing to end: `netvps up` does not run on {state}\n".removeprefix("netvps: "),
    )


@pytest.mark.parametrize("overlay", [True, False])
def test_what_runs_is_ended_and_what_stays_is_said(
    run: Run, running: subprocess.Popen[str], overlay: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.cli.machine.down.INTERFACES", tmp_path)
    if overlay:
        (tmp_path / "nv0").mkdir()
    ran = run("down")
    assert ran.code == 0
    assert running.wait(5) == 0
    assert "session containers go on running" in ran.err
    assert ("netvps network purge" in ran.err) is overlay


def test_another_process_of_that_number_is_left_alone(run: Run, running: subprocess.Popen[str], state: Path) -> None:
    (state / "up.pid").write_text(json.dumps({"pid": running.pid, "started": 1}))
    assert run("down").code == exit_codes.CONFIGURATION
    (state / "up.pid").write_text("rubbish")
    assert run("down").code == exit_codes.CONFIGURATION
    assert running.poll() is None


@pytest.mark.parametrize("running", ["deaf"], indirect=True)
def test_the_timeout_is_named(run: Run, running: subprocess.Popen[str]) -> None:
    ran = run("down", "--timeout", "0.3")
    assert ran.code == exit_codes.TIMEOUT
    assert "--timeout 0.3s is over" in ran.err
    assert running.poll() is None
