"""Commands that are programs of their own: `server`, `runner`, `env bootstrap`; and `runner` as a noun."""

from __future__ import annotations

import os
import sys

import pytest

from netvps import exit_codes
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
        (["server", "--listen", "0.0.0.0"], ["netvps.programs.server", "--listen", "0.0.0.0"]),
        (["env", "bootstrap", "x", "--suite", "stable"], ["netvps.programs.bootstrap", "x", "--suite", "stable"]),
        (["backup", "file", "--state-dir", "x"], ["netvps.programs.backup", "file", "--state-dir", "x"]),
        (["restore", "--yes", "file"], ["netvps.programs.restore", "--yes", "file"]),
        (["runner", "sweep", "--dry-run"], ["netvps.programs.sweep", "--dry-run"]),
        (["--context", "lab", "runner", "sweep"], ["netvps.programs.sweep", "--context", "lab"]),
        (["network", "purge", "--force"], ["netvps.programs.purge", "--force"]),
        (["runner"], ["netvps.programs.runner"]),
        (["runner", "--server", "h:7443"], ["netvps.programs.runner", "--server", "h:7443"]),
        (["runner", "run", "--overlay", "off"], ["netvps.programs.runner", "--overlay", "off"]),
        (["up", "--foreground", "--verbose"], ["netvps.programs.up", "--foreground", "--verbose"]),
    ],
)
def test_it_becomes_the_program_with_all_its_words(
    words: list[str], line: list[str], run: Run, became: list[list[str]]
) -> None:
    with pytest.raises(Became):
        run(*words)
    assert became == [["-P", "-m", *line]]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["server", "--lisen", "x"], "there is no option --lisen; did you mean --listen or --apps-listen?"),
        (["server", "--ssh-port", "70000"], "--ssh-port: '70000' is wrong: give a value less than or equal to 65535"),
        (["up", "--overlay", "maybe"], "--overlay: 'maybe' is wrong: give true or false"),
        (["up", "--overlay-fast-path", "on"], "--overlay-fast-path: 'on' is wrong: give 'auto' or 'off'"),
        (["up", "--listen", "here"], "--listen: 'here' is wrong: give an IP address of this machine"),
        (["up", "--server", "h:7443"], "there is no option --server"),
        (["up", "--ssh-port"], "--ssh-port needs a value after it"),
        (["up", "--foreground=3"], "--foreground takes no value"),
        (["up", "now"], "more arguments than this command takes: now"),
        (["runner", "swep"], "there is no command 'swep'; did you mean sweep?"),
        (["backup"], "FILE is missing; see `netvps backup --help`"),
        (["restore", "file", "--yess"], "there is no option --yess; did you mean --yes?"),
        (["env", "bootstrap"], "NAME is missing"),
        (["network", "purge", "--forc"], "there is no option --forc; did you mean --force?"),
    ],
)
def test_a_mistake_is_found_before_anything_starts(
    words: list[str], shown: str, run: Run, became: list[list[str]]
) -> None:
    ran = run(*words)
    assert (ran.code, became) == (exit_codes.USAGE, [])
    assert shown in ran.err
    assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize("words", [["up"], ["server"], ["runner", "run"], ["runner", "sweep"], ["env", "bootstrap"]])
def test_a_program_has_help_with_its_flags(words: list[str], run: Run) -> None:
    ran = run(*words, "--help")
    assert ran.code == 0
    assert f"Usage: netvps {' '.join(words)}" in ran.out
    assert "--docker-host" in ran.out or "--listen" in ran.out
    assert "--ready-fd" not in ran.out
