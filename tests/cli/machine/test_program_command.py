"""A command that is a program: its flags are checked by the CLI, and read once more by the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from netvps.cli.machine import program_command
from netvps.cli.machine.program_command import ProgramCommand, parse


def _program() -> ProgramCommand:
    return ProgramCommand(
        "x", module="x", path="some x", summary="Does x.", params=[click.Option(["--much"], type=int)]
    )


def test_the_program_is_that_of_this_python() -> None:
    line = program_command.command("server", ["-x"])
    assert line == [sys.executable, "-P", "-m", "netvps.programs.server", "-x"]


def test_it_reads_no_module_from_the_current_folder(tmp_path: Path) -> None:
    """Whoever may write there would be whoever starts it."""
    (tmp_path / "click.py").write_text("raise SystemExit('read')")
    line = program_command.command("server", ["--help"])
    answer = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_the_program_reads_the_same_flags() -> None:
    assert parse(_program(), ["--much", "3"]) == {"much": 3}
    assert parse(_program(), []) == {"much": None}


def test_the_program_tells_of_a_mistake_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(_program(), ["--mush", "3"])
    assert ended.value.code == 2
    shown = "netvps some x: there is no option --mush; did you mean --much?; see `netvps some x --help`\n"
    assert capsys.readouterr().err == shown


def test_the_program_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(_program(), ["--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("Usage: netvps some x [OPTIONS]")


def test_a_start_of_its_own_gets_the_words_as_they_were_typed() -> None:
    seen: list[tuple[str, ...]] = []
    program = ProgramCommand("x", module="x", summary="Does x.", params=_program().params,
                             start=lambda words: seen.append(tuple(words)))  # fmt: skip
    program.main(["--much", "3"], standalone_mode=False)
    assert seen == [("--much", "3")]


@pytest.mark.parametrize("words", [["--listen", ""], ["--config="], ["--state-dir", ""]])
def test_an_empty_value_of_a_setting_is_a_mistake_too(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    program = ProgramCommand("x", module="x", summary="Does x.", settings=("ServerSettings",))
    with pytest.raises(SystemExit) as ended:
        parse(program, words)
    assert ended.value.code == 2
    option = words[0].rstrip("=")
    assert capsys.readouterr().err.startswith(f"netvps x: {option}: the value is empty: give one, or leave it out")
