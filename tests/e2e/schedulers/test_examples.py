"""The programs of examples/ and the commands of their page, as a person with a key runs them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.documents.printed import run_printed, words_of
from tests.e2e.system import Account, System
from tests.project.doc_pages import ROOT, run_lines

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture
def program(system: System) -> Iterator[Account]:
    """The account of a scheduler on another machine: a key, the CA, and the examples."""
    with tempfile.TemporaryDirectory(prefix="nvx-") as folder:
        files = {"NETVPS_CA": f"{folder}/ca.pem", "NETVPS_API_KEY_FILE": f"{folder}/scheduler.key"}
        shutil.copytree(ROOT / "examples", Path(folder, "examples"))
        Path(folder, "jobs.txt").write_text("echo one\nexit 0\necho three; hostname\n")
        yield Account(Path(folder), files | {"NETVPS_ADDRESS": f"127.0.0.1:{system.ports['api']}"})


def test_the_page_of_schedulers(system: System, program: Account, busybox: str) -> None:
    printed = []
    for line in run_lines("docs/schedulers.md"):
        words = words_of(line, system, busybox)
        if words[:2] == ["netvps", "sim"]:
            assert b"12 sessions are created" in run_printed(program, words).stdout
        elif words[0] == "netvps":
            run_printed(system, words)
            shutil.copy(system.home / words[-1], program.home)
        else:
            printed.append(run_printed(program, words).stdout.decode())
    queue, array = printed
    assert sorted(line for line in queue.splitlines() if "exit code" in line) == [
        "echo one: exit code 0",
        "echo three; hostname: exit code 0",
        "exit 0: exit code 0",
    ]
    assert {"one", "three"} <= set(queue.splitlines())
    assert array == "part 0 of 3\npart 1 of 3\npart 2 of 3\n"
    _the_pool_replaces_what_is_stopped(system, program)
    assert not system.netvps("ls", "-q").stdout


def _the_pool_replaces_what_is_stopped(system: System, program: Account) -> None:
    command = [sys.executable, "examples/pool.py", "workers", "2"]
    environment = program.full_environment()
    with subprocess.Popen(command, cwd=program.home, env=environment, stdout=subprocess.PIPE, text=True) as pool:
        try:
            assert pool.stdout is not None
            said = (line.split() for line in pool.stdout)
            running = {name for name, _ in _until_running(said, 2)}
            victim = min(running)
            system.netvps("stop", victim)
            replaced = {name for name, _ in _until_running(said, 1)}
            assert len(replaced - running) == 1
        finally:
            pool.send_signal(signal.SIGINT)
            assert pool.wait(60) == 0
    left = system.netvps("ls", "-q").stdout.decode().split()
    system.netvps("rm", "--yes", *left)


def _until_running(said: Iterator[list[str]], count: int) -> list[list[str]]:
    """What a pool said until as many sessions more are RUNNING; those lines."""
    found: list[list[str]] = []
    while len(found) < count:
        line = next(said)
        found += [line] if line[1] == "RUNNING" else []
    return found
