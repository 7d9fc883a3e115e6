"""`netvps forward`: which ssh it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps import exit_codes
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient, session
from tests.cli.session.conftest import Became


def test_ports_are_those_of_ssh(run: Run, fake: FakeClient, became: list[list[str]]) -> None:
    fake.sessions = {"dev1": session()}
    with pytest.raises(Became):
        run("forward", "sessions/dev1", "8080:80", "5432", "/tmp/x:/run/y", "9:/run/z/udp", "--address", "::1")
    line = became[0]
    assert line[0] == "ssh"
    assert line[line.index("-l") :] == [
        "-l", "dev1", "-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindUnlink=yes",
        "-L", "[::1]:8080:localhost:80", "-L", "[::1]:5432:localhost:5432",
        "-L", "/tmp/x:/run/y", "-L", "[::1]:9:/run/z/udp", "-N", "127.0.0.1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "port",
    ["http", "0", "80:", "80:x", "70000", "1:2:3", "1/tcp", "/a/udp", "/a", "x:1/udp", "\u0663", "/a:b:c", "80:a/b"],
)
def test_what_is_no_port_is_refused(port: str, run: Run, fake: FakeClient) -> None:
    ran = run("forward", "dev1", port)
    assert (ran.code, fake.asked) == (exit_codes.USAGE, [])
    assert "is not PORT or LOCAL:REMOTE: give for example 8080:80, 53/udp" in ran.err


def test_a_file_that_is_no_socket_is_left_alone(run: Run, fake: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    ran = run("forward", "dev1", f"{tmp_path}/file:80")
    assert (ran.code, fake.asked) == (exit_codes.CONFIGURATION, [])
    assert "exists and is no socket" in ran.err
    assert (tmp_path / "file").read_text() == "mine"
