"""Assignments survive the process, and a damaged file is no misfortune."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps.domain.session import Assignment, DesiredState, Network, SessionSpec, Snapshot
from netvps.errors import ConfigError
from netvps.runner.memory import Memory, read_assignments

SNAPSHOT = Snapshot("s", "u", "i:1", "sha256:1", 5, 2, "here", 3, datetime(2026, 11, 21, tzinfo=UTC))
SPEC = SessionSpec(image="x", cpus=0.5, env={"A": "1"}, network=Network.NONE, labels={"k": "v"})
WANT = Assignment("u", "dev1", "ann", 2, 3, DesiredState.STOPPED, SPEC, SNAPSHOT, 9, "10.128.4.2")


def test_what_is_kept_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "assignments.json"
    memory = Memory(path)
    memory.keep(WANT)
    memory.keep(replace(WANT, session_uid="v", snapshot=None))
    memory.forget("v")
    assert Memory(path).assignments == {"u": WANT}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_an_empty_memory(tmp_path: Path) -> None:
    path = tmp_path / "assignments.json"
    for content in ("", "{", '{"assignments": [{"spec": {}}]}', '{"assignments": 7}'):
        path.write_text(content)
        assert Memory(path).assignments == {}


def test_a_full_disk_loses_nothing_that_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "assignments.json"
    memory = Memory(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("netvps.runner.memory.write_file", full)
        memory.keep(WANT)
    assert memory.assignments == {"u": WANT}
    assert Memory(path).assignments == {}
    memory.keep(WANT)  # it is told again, and there is room now
    assert Memory(path).assignments == {"u": WANT}


def test_who_removes_by_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "assignments.json"
    assert read_assignments(path) == {}
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_assignments(path)
