"""What a process does on its way in and out."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from netvps import exit_codes
from netvps.errors import Unavailable
from netvps.process.process import allow_many_files, guarded


def test_an_error_is_one_line_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    reported: list[tuple[str, int]] = []

    def work() -> int:
        raise Unavailable("nobody is there: try again")

    assert guarded("x", work, lambda error, code: reported.append((error, code))) == exit_codes.UNAVAILABLE
    assert reported == [("nobody is there: try again", exit_codes.UNAVAILABLE)]
    assert capsys.readouterr().err == "netvps x: nobody is there: try again\n"


def test_as_many_files_as_are_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_child_dies_with_its_parent() -> None:
    child = (
        "import os, signal, time; from netvps.process.process import die_with\n"
        "die_with(int(os.environ['PARENT']), signal.SIGKILL); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys\n"
        "os.environ['PARENT'] = str(os.getpid())\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) != process.pid
        process.kill()
        assert process.stdout.read() == b""  # the child had it open, and is gone


def test_a_program_starts_without_what_it_never_uses_and_collects_no_modules() -> None:
    program = (
        "import gc, sys, netvps.programs.http\n"
        "from netvps.process.process import run_to_end\n"
        "async def work():\n"
        "  print('rich' in sys.modules, gc.get_freeze_count() > 10_000, gc.get_threshold()[0] < 10_000)\n"
        "run_to_end(work())"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert answer.stdout.split() == ["False", "True", "True"]
