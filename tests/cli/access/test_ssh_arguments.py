"""OpenSSH's grammar, around the name of a session."""

from __future__ import annotations

import click
import pytest

from netvps.cli.access.ssh_arguments import SshArguments


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("dev1", SshArguments("dev1")),
        ("dev1 uname -a", SshArguments("dev1", command=("uname", "-a"))),
        ("dev1 -- -weird", SshArguments("dev1", command=("-weird",))),
        ("-t dev1 top", SshArguments("dev1", options=("-t",), command=("top",))),
        ("dev1 -L 8080:localhost:80 -N", SshArguments("dev1", options=("-L", "8080:localhost:80", "-N"))),
        ("-NL8080:x:80 dev1", SshArguments("dev1", options=("-N", "-L", "8080:x:80"))),
        ("-vvv dev1", SshArguments("dev1", options=("-v", "-v", "-v"))),
        ("-l bob dev1", SshArguments("dev1", "bob")),
        ("dev1 -lbob id", SshArguments("dev1", "bob", command=("id",))),
        ("--user bob dev1", SshArguments("dev1", "bob")),
        ("--user=bob dev1", SshArguments("dev1", "bob")),
        ("bob@dev1.alice", SshArguments("dev1.alice", "bob")),
        ("-o ServerAliveInterval=5 dev1", SshArguments("dev1", options=("-o", "ServerAliveInterval=5"))),
    ],
)
def test_words_are_distinguished(line: str, expected: SshArguments) -> None:
    assert SshArguments.parse(line.split()) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "name a session"),
        ("-t", "name a session"),
        ("-p 22 dev1", "the port comes from the server"),
        ("-Z dev1", "no such option of ssh: -Z"),
        ("--wat dev1", "no such option: --wat"),
        ("dev1 -L", "option -L needs a value"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(line: str, said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        SshArguments.parse(line.split())


def test_the_login_is_what_the_gateway_takes() -> None:
    assert SshArguments("dev1.alice", "bob").login == "dev1.alice+bob"
    assert SshArguments("dev1").login == "dev1"


def test_the_time_to_wait_may_be_given_behind_the_name() -> None:
    assert SshArguments.parse(["dev1", "--timeout", "5s", "ls", "--timeout"]).timeout == 5.0
    assert SshArguments.parse(["--timeout=1m", "dev1"]).timeout == 60.0
    assert SshArguments.parse(["dev1"]).timeout is None


def test_without_a_name_it_is_asked_for() -> None:
    assert SshArguments.parse(["-t"], lambda: "picked") == SshArguments("picked", options=("-t",))
    assert SshArguments.parse(["bob@sessions/dev1.root"]).login == "dev1.root+bob"
