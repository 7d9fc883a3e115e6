"""Standard streams that are closed or full: one line, an exit code, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from netvps import exit_codes
from netvps.cli.ui.streams import output_problem

PROGRAM = f"'{sys.executable}' -c 'from netvps.cli.app import main; main()' "


def _shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", PROGRAM + line], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | environment,
    )  # fmt: skip


@pytest.mark.parametrize(("where", "reason"), [(">/dev/full", "no space left on device"), (">&-", "it is closed")])
def test_output_that_cannot_be_written_is_one_line(where: str, reason: str) -> None:
    ended = _shell(f"--help {where}")
    shown = f"cannot write to standard output: {reason}; part of the output is missing, write it elsewhere"
    assert (ended.returncode, ended.stdout, ended.stderr) == (exit_codes.UNKNOWN, "", f"netvps: {shown}\n")


def test_without_standard_error_the_code_is_the_same_and_nothing_goes_astray() -> None:
    ended = _shell("ls --colour 2>&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (exit_codes.USAGE, "", "")


def test_a_character_that_the_terminal_lacks_is_replaced() -> None:
    program = "import sys; from netvps.cli.ui import streams; streams.prepare(); print('caf\\u00e9 \\u4e2d')"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, timeout=60, check=True,
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert ended.stdout == b"caf\xe9 ?\n"


def test_an_error_of_a_file_is_not_taken_for_one_of_the_output() -> None:
    assert output_problem(OSError(28, "No space left on device", "/x")) is None
    assert output_problem(OSError(2, "No such file or directory")) is None
