from __future__ import annotations

import io
from collections.abc import Generator
from typing import Any

import pytest

from netvps.domain.image.image import ImageProgress, ImageView
from netvps.programs import bootstrap
from netvps.programs.bootstrap import ProgressLine, main
from tests.cli.fake_client import NOW, FakeClient


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


def test_a_runner_does_it_through_the_server(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []

    class Server(FakeClient):
        def bootstrap_image(self, runner: str, name: str, *, suite: str, mirror: str) -> Generator[Any, None, None]:
            asked.append((runner, name, suite, mirror))
            yield ImageProgress("unpacking packages: 3")
            yield ImageView("box1", "netvps/deb:latest", "sha256:1", 7, "amd64", NOW, is_default=False, session_count=0)

    monkeypatch.setattr(bootstrap, "dial", lambda _context: Server())
    monkeypatch.setattr(bootstrap, "resolve", lambda name: name)
    assert main(["deb", "--runner", "box1", "--suite", "bookworm"]) == 0
    said = capfd.readouterr()
    assert (said.out, said.err) == ("netvps/deb:latest\n", "runner box1: unpacking packages: 3\n")
    assert asked == [("box1", "deb", "bookworm", "")]
    assert main(["deb", "--runner", "box1", "--or-pull", "debian:12"]) != 0
    assert "--runner: excludes --or-pull" in capfd.readouterr().err
