"""`netvps help`."""

from __future__ import annotations

from netvps import exit_codes
from tests.cli.conftest import Run


def test_the_help_of_a_command_is_that_of_its_option(run: Run) -> None:
    assert run("help", "create").out == run("create", "--help").out
    assert run("help", "runner", "sweep").out == run("runner", "sweep", "--help").out
    assert run("help").out == run("--help").out


def test_exit_codes_are_a_topic(run: Run) -> None:
    lines = run("help", "exit-codes").out.splitlines()
    assert [int(line.split()[0]) for line in lines] == [*exit_codes.MEANINGS]
    assert "interrupted by Ctrl-C" in next(line for line in lines if line.startswith("130"))


def test_an_unknown_command_gets_the_nearest(run: Run) -> None:
    assert "there is no command 'crate'; did you mean create" in run("help", "crate").err
    ran = run("help", "runner", "swep")
    assert (ran.code, "there is no command 'runner swep'; did you mean sweep" in ran.err) == (exit_codes.USAGE, True)
