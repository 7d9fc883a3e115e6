"""Whole or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from netvps.files import write_file
from netvps.runner.assignment_store import AssignmentStore
from netvps.runner.ports import Engine, Link
from netvps.runner.runner import Runner
from netvps.runner.session.logs import KeptLogs
from netvps.runner.settings import RunnerSettings


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_file(path, b"one")
    write_file(path, b"two", 0o755)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o755


def test_a_file_may_be_that_of_another_account(tmp_path: Path) -> None:
    path = tmp_path / "x"
    write_file(path, b"one", 0o640, (path.parent.stat().st_uid, path.parent.stat().st_gid))
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (tmp_path.stat().st_uid, 0o640)


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    (path / "in it").touch()
    with pytest.raises(OSError, match="directory"):
        write_file(path, b"one")
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_death_leaves_of_a_file_goes_at_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from netvps.files import write_file;"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); write_file(Path(sys.argv[1]), b'half')"
    )
    kept = tmp_path / "kept"
    write_file(kept, b"whole")
    dead = subprocess.run([sys.executable, "-c", code, kept], check=False, timeout=30)
    assert dead.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    for starts in (KeptLogs, lambda folder: AssignmentStore(folder / "assignments.json"), _runner):
        (tmp_path / ".u.log.x.part").touch()
        starts(tmp_path)
        assert list(tmp_path.iterdir()) == [kept]
    assert kept.read_bytes() == b"whole"


def _runner(run_dir: Path) -> Runner:
    """By the folder of its sessions' sockets, beside which their /etc/resolv.conf are written."""
    state = run_dir.with_name(f"{run_dir.name}-state")
    for folder in (state, state / "logs"):
        folder.mkdir()
    agent = state / "program"
    agent.write_bytes(b"agent")
    settings = RunnerSettings("uid", "box", "1", state, run_dir, agent, "192.0.2.9:7444")
    return Runner(create_autospec(Link), create_autospec(Engine), settings)
