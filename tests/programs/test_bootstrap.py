from __future__ import annotations

import io

import pytest

from netvps.programs.bootstrap import ProgressLine, main


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_that_changes_and_goes() -> None:
    output = _Terminal()
    line = ProgressLine(output)
    line.show("pulling")
    line.show("unpacking")
    line.end()
    assert output.getvalue() == "\r\x1b[Kpulling\r\x1b[Kunpacking\r\x1b[K"


def test_a_file_gets_a_line_now_and_then() -> None:
    output = io.StringIO()
    line = ProgressLine(output)
    for number in range(100):
        line.show(f"package {number}")
    line.end()
    assert output.getvalue() == "package 0\n"


def test_no_docker_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["x", "--docker-host", "unix:///nonexistent/docker.sock"]) in {7, 10}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("netvps env bootstrap: ")
    assert "/nonexistent/docker.sock" in line or "not installed" in line
