"""--persist, --terminal, --list and --watch of `netvps ssh`."""

from __future__ import annotations

import click
import pytest

from netvps.cli.access.ssh_arguments import SshArguments
from netvps.cli.sharing.kept_terminal import words_of


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--persist dev1", SshArguments("dev1", options=("-t", "-o", "SetEnv=NETVPS_TERMINAL=main"))),
        ("dev1 --terminal=build", SshArguments("dev1", options=("-t", "-o", "SetEnv=NETVPS_TERMINAL=build"))),
        ("--terminal build --persist dev1", SshArguments("dev1", options=("-t", "-o", "SetEnv=NETVPS_TERMINAL=build"))),
        ("dev1 --list", SshArguments("dev1", options=("-s",), command=("terminals@netvps",))),
        ("--watch dev1.bob", SshArguments("dev1.bob", options=("-t",), watch=True)),
        ("--watch dev1.bob build", SshArguments("dev1.bob", options=("-t",), command=("build",), watch=True)),
        ("dev1 -- --persist", SshArguments("dev1", command=("--persist",))),
    ],
)
def test_words_become_options_of_ssh(line: str, expected: SshArguments) -> None:
    assert SshArguments.parse(line.split()) == expected


def test_watching_is_a_login_of_its_own() -> None:
    assert SshArguments.parse(["--watch", "dev1.bob"]).login == "watch+dev1.bob"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--terminal=No dev1", "'No' is not a label"),
        ("--terminal= dev1", "'' is not a label"),
        ("dev1 --terminal", "option --terminal needs a value"),
        ("--persist --list dev1", "exclude each other"),
        ("--persist dev1 top", "run no command"),
        ("--list dev1 top", "run no command"),
        ("--watch dev1 a b", "the label of one terminal"),
        ("--watch bob@dev1", "leave the user out"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(line: str, said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        SshArguments.parse(line.split())


def test_options_before_the_name_are_known_to_click() -> None:
    assert words_of(persist=True, terminal="build", lists=False, watch=False) == ["--persist", "--terminal=build"]
    assert words_of(persist=False, terminal="", lists=True, watch=True) == ["--list", "--watch"]
