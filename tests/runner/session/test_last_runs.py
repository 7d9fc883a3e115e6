"""The last run of a session: written once, read back, and never in the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.domain.session.kept import LastRun
from netvps.runner.session import last_runs
from netvps.runner.session.last_runs import LastRuns


def test_what_was_written_is_read_by_the_next_runner(tmp_path: Path) -> None:
    runs = LastRuns(tmp_path / "runs")
    assert runs.read("u") is None
    runs.write("u", LastRun("c1 - -", 2))
    runs.write("u", LastRun("c1 - -", 3))
    assert LastRuns(tmp_path / "runs").read("u") == LastRun("c1 - -", 3)
    runs.remove("u")
    runs.remove("u")
    assert runs.read("u") is None


def test_the_same_again_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = LastRuns(tmp_path)
    runs.write("u", LastRun("c1", 2))
    monkeypatch.setattr(last_runs, "write_file", None)
    runs.write("u", LastRun("c1", 2))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": "c1"}'])
def test_a_broken_file_stands_for_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "u.json").write_text(content)
    assert LastRuns(tmp_path).read("u") is None
