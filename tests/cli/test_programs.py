"""Commands that are programs of their own: `server`, `runner`, `env bootstrap`; and `runner` as a noun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netvps.cli import programs
from tests.cli.conftest import Run


class Became(BaseException):
    """This process would be that one now."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    lines: list[list[str]] = []

    def execv(program: str, line: list[str]) -> None:
        assert program == line[0] == sys.executable
        lines.append(line[1:])
        raise Became

    monkeypatch.setattr(os, "execv", execv)
    return lines


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["server", "--listen", "0.0.0.0", "--help"], ["netvps.programs.server", "--listen", "0.0.0.0", "--help"]),
        (["env", "bootstrap", "--suite", "stable"], ["netvps.programs.bootstrap", "--suite", "stable"]),
        (["backup", "file", "--state-dir", "x"], ["netvps.programs.backup", "file", "--state-dir", "x"]),
        (["restore", "--yes", "file"], ["netvps.programs.restore", "--yes", "file"]),
        (["runner", "sweep", "--dry-run"], ["netvps.programs.sweep", "--dry-run"]),
        (["--context", "lab", "runner", "sweep"], ["netvps.programs.sweep", "--context", "lab"]),
        (["network", "purge", "--force"], ["netvps.programs.purge", "--force"]),
        (["runner"], ["netvps.programs.runner"]),
        (["runner", "--server", "h:7443"], ["netvps.programs.runner", "--server", "h:7443"]),
        (["runner", "run", "--help"], ["netvps.programs.runner", "--help"]),
        (["up", "--foreground", "--verbose"], ["netvps.programs.up", "--foreground", "--verbose"]),
    ],
)
def test_it_becomes_the_program_with_all_its_words(
    words: list[str], line: list[str], run: Run, became: list[list[str]]
) -> None:
    with pytest.raises(Became):
        run(*words)
    assert became == [["-P", "-m", *line]]


def test_the_program_is_that_of_this_python() -> None:
    assert programs.command("server", ["-x"]) == [sys.executable, "-P", "-m", "netvps.programs.server", "-x"]


def test_it_reads_no_module_from_the_current_folder(tmp_path: Path) -> None:
    """Whoever may write there would be whoever starts it."""
    (tmp_path / "argparse.py").write_text("raise SystemExit('read')")
    answer = subprocess.run(
        programs.command("server", ["--help"]), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
