"""The door: errors become one line and a code; help and ls load next to nothing."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from netvps import errors, exit_codes
from netvps.cli.app import COMMANDS
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_has_help(name: str, run: Run) -> None:
    module, _, attribute = COMMANDS[name].target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    if "--help" in command.get_help_option_names(click.Context(command)) and command.add_help_option:
        ran = run(name, "--help")
        assert ran.code == 0
        assert "Usage: netvps" in ran.out


def test_help_shows_every_command_under_a_heading(run: Run) -> None:
    ran = run("--help")
    assert all(entry.summary in ran.out for entry in COMMANDS.values())
    assert "Sessions:" in ran.out


def test_a_mistyped_command_is_a_usage_error_with_the_nearest_name(run: Run) -> None:
    ran = run("crate")
    assert ran.code == exit_codes.USAGE
    assert ran.err == "netvps: there is no command 'crate'; did you mean create?; see `netvps --help`\n"


def test_a_wrong_option_names_the_command_whose_help_to_read(run: Run) -> None:
    ran = run("ls", "--colour")
    assert ran.code == exit_codes.USAGE
    assert "see `netvps ls --help`" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_an_error_from_elsewhere_cannot_steer_the_terminal(run: Run, fake: FakeClient) -> None:
    fake.errors["list_sessions"] = errors.NotFound("no\x1b[2J\x9b31m such\nthing\u202e")
    ran = run("ls")
    assert ran.err == "netvps: no\ufffd[2J\ufffd31m such thing\ufffd\n"


def test_version_is_reported_without_a_server(run: Run) -> None:
    assert run("--version").out == "netvps 0.1.0\n"


def test_the_program_ends_with_the_code_and_all_it_printed(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from netvps.cli.app import main; main()", "ls"],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"NETVPS_SOCKET": str(tmp_path / "none.sock")},
    )  # fmt: skip
    assert ended.returncode == exit_codes.UNAVAILABLE
    assert ended.stderr.startswith("netvps: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_reader_that_has_enough_is_a_success() -> None:
    command = "from netvps.cli.app import main; main()"
    ended = subprocess.run(
        ["/bin/sh", "-c", f"'{sys.executable}' -c '{command}' --help | true"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.stderr == ""


def test_ctrl_c_ends_the_program_by_its_signal_so_that_a_loop_of_a_shell_ends() -> None:
    program = "from netvps.cli import app; app.run = lambda _: app.exit_codes.INTERRUPTED; app.main()"
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert ended.returncode == -signal.SIGINT
