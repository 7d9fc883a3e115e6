"""Fault points: each does what it is armed for, once; all are in one table; none costs anything in production."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
import timeit
from pathlib import Path
from typing import get_args

import pytest

from netvps import faults
from netvps.domain.session.steps import Step
from netvps.process.agent_program import agent_program

ROOT = Path(__file__).parent.parent
POINT = "session.create.after_commit"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    return tmp_path


def _child(folder: Path, **environment: str) -> int:
    code = f"from netvps.faults import fault_point; fault_point({POINT!r})"
    names = os.environ | {"NETVPS_FAULTS": str(folder), "PYTHONPATH": str(ROOT)} | environment
    return subprocess.run([sys.executable, "-c", code], env=names, check=False, timeout=30).returncode


def test_a_process_dies_at_the_point_it_is_armed_for_and_once(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("kill")
    assert _child(tmp_path, NETVPS_ENV="test") == -signal.SIGKILL
    assert _child(tmp_path, NETVPS_ENV="test") == 0


def test_without_the_word_test_a_folder_arms_nothing(tmp_path: Path) -> None:
    (tmp_path / POINT).write_text("kill")
    assert _child(tmp_path, NETVPS_ENV="production") == 0
    assert _child(tmp_path) == 0
    assert (tmp_path / POINT).exists()


def test_a_point_raises_once(folder: Path) -> None:
    (folder / POINT).write_text("raise")
    with pytest.raises(faults.InjectedFault, match=POINT):
        faults.fault_point(POINT)
    faults.fault_point(POINT)


def test_a_point_hangs_for_a_while_and_tells_who_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    (folder / POINT).write_text("hang")
    faults.fault_point(POINT)
    assert slept == [faults.HANG_SECONDS]
    assert (folder / f"{POINT}{faults.HIT}").read_text() == str(os.getpid())


def test_inert_points_cost_less_than_a_microsecond() -> None:
    rounds = 20_000
    assert min(timeit.repeat(lambda: faults.fault_point(POINT), number=rounds, repeat=5)) / rounds < 1e-6


def _strings(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def _calls() -> list[tuple[str, list[ast.expr]]]:
    found = []
    for path in sorted((ROOT / "netvps").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "api" in path.parts or path.name == "faults.py" or not re.search(r"\b(fault_point|write)\(", text):
            continue
        nodes = ast.walk(ast.parse(text))
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        found += [(call.func.id, call.args) for call in calls if isinstance(call.func, ast.Name)]
        found += [(call.func.attr, call.args) for call in calls if isinstance(call.func, ast.Attribute)]
    return found


def test_every_point_in_the_tree_is_in_the_table_and_the_other_way_round() -> None:
    calls = _calls()
    places = {a[0].value for name, a in calls if name == "fault_point" and isinstance(a[0], ast.Constant)}
    assert places == set(faults.PLACES)
    transactions = [a for name, a in calls if name == "write" and len(a) == 2]
    named = {a[1].value for a in transactions if isinstance(a[1], ast.Constant) and isinstance(a[1].value, str)}
    assert named <= set(faults.COMMITS)
    # What the record of a report is called depends on the report.
    assert set(faults.COMMITS) - named <= _strings(ROOT / "netvps/services/runners/runners.py")


def test_every_step_of_the_runner_has_its_points() -> None:
    assert set(faults.STEPS) == {step.__name__.lower() for step in get_args(Step)}


def test_every_point_of_the_agent_is_in_the_table_and_the_other_way_round() -> None:
    sources = (path.read_text(encoding="utf-8") for path in sorted((ROOT / "tunnel").rglob("*.go")))
    assert {name for source in sources for name in re.findall(r'faults\.Point\("(.+?)"\)', source)} == set(faults.AGENT)


def test_the_agent_that_people_get_has_no_points() -> None:
    assert b"NETVPS_FAULT" not in agent_program().read_bytes()


def test_names_of_points_are_unique_and_say_what_goes_on() -> None:
    pairs, single = [*faults.COMMITS, *faults.STEPS], [*faults.PLACES, *faults.AGENT]
    assert len(faults.POINTS) == 2 * len(pairs) + len(single)
    assert all(len(sentence.split()) > 3 for sentence in faults.POINTS.values())
