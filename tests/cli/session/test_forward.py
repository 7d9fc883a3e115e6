"""`netvps forward`: which ssh it becomes."""

from __future__ import annotations

import pytest

from netvps import exit_codes
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session
from tests.cli.session.conftest import Became


def test_ports_are_those_of_ssh(run: Run, fake: FakeClient, became: list[list[str]]) -> None:
    fake.sessions = {"dev1": session()}
    with pytest.raises(Became):
        run("forward", "sessions/dev1", "8080:80", "5432", "--address", "::1")
    line = became[0]
    assert line[0] == "ssh"
    assert line[line.index("-l") :] == [
        "-l", "dev1", "-N", "-o", "ExitOnForwardFailure=yes",
        "-L", "[::1]:8080:localhost:80", "-L", "[::1]:5432:localhost:5432", "127.0.0.1",
    ]  # fmt: skip


@pytest.mark.parametrize("port", ["http", "0", "80:", "80:x", "70000", "1:2:3"])
def test_what_is_no_port_is_refused(port: str, run: Run, fake: FakeClient) -> None:
    ran = run("forward", "dev1", port)
    assert (ran.code, fake.asked) == (exit_codes.USAGE, [])
    assert "is not PORT or LOCAL:REMOTE: give for example 8080:80" in ran.err
