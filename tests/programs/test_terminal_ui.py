"""The warm process (netvps.programs.terminal_ui), used as the gateway does, with the app of the gateway's tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netvps.programs import terminal_ui

FAKE = Path(__file__).parents[1] / "gateway/tui/fake_ui.py"
REQUEST = {
    "token": "secret",
    "term": "xterm",
    "environ": {"COLORTERM": "x"},
    "page": "runners",
    "uid": "",
    "ca": "",
    "title": "",
}


class Warm:
    """The process, its socket, and what it answers."""

    def __init__(self) -> None:
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(20)
        arguments = ["--fd", str(other.fileno()), "--api", "unix:/none/api.sock"]
        self.process = subprocess.Popen(
            [sys.executable, str(FAKE), *arguments], pass_fds=(other.fileno(),), env={"PATH": os.environ["PATH"]}
        )
        other.close()
        assert self.answer() == {}

    def answer(self) -> dict[str, int]:
        answer: dict[str, int] = json.loads(self.socket.recv(4096))
        return answer

    def start(self) -> tuple[int, int, int]:
        """A viewer: its pid, the terminal, and the pipe for how it ended."""
        own, terminal = os.openpty()
        result, writing = os.pipe()
        socket.send_fds(self.socket, [json.dumps(REQUEST).encode()], [terminal, writing])
        pid = self.answer()["pid"]
        os.close(terminal)
        os.close(writing)
        return pid, own, result


@pytest.fixture
def warm() -> Iterator[Warm]:
    made = Warm()
    yield made
    made.socket.close()
    assert made.process.wait(20) == 0, "it ends when its socket is closed"


def read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 4096)
    return seen


def test_a_viewer_sees_the_app_and_its_end_is_reported(warm: Warm) -> None:
    pid, terminal, result = warm.start()
    read_until(terminal, b"UI term=xterm page=runners")
    command = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert b"secret" not in command
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max core file size        0 " in limits
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["NoNewPrivs"].strip() == "1"
    if os.geteuid() == 0:
        assert status["Uid"].split()[0] != "0"
        assert (status["Groups"].strip(), int(status["CapPrm"], 16)) == ("", 0)
    os.write(terminal, b"s")
    assert json.loads(os.read(result, 4096)) == {"session": "dev1.alice", "page": "sessions", "uid": "row7"}
    assert os.read(result, 1) == b""


def test_a_viewer_is_killed_on_demand_and_no_other_process_is(warm: Warm) -> None:
    pid, terminal, result = warm.start()
    read_until(terminal, b"UI term=")
    with subprocess.Popen(["sleep", "60"]) as other:
        for number in (other.pid, warm.process.pid, pid):
            warm.socket.send(json.dumps({"kill": number}).encode())
        assert os.read(result, 1) == b""
        assert other.poll() is None
        other.kill()
    assert warm.process.poll() is None


@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_the_socket_is_reached_past_folders_that_others_may_not_enter(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "closed/run"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    path = folder / "api.sock"
    address = ""
    for _ in range(2 if mode == 0o755 else 1):  # the server comes back with a new socket
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(str(path))
            server.listen()
            address = address or terminal_ui._reachable(f"unix:{path}")
            client.connect(address.removeprefix("unix:"))
        path.unlink()
    assert terminal_ui._reachable("vps.example.org:7443") == "vps.example.org:7443"
    assert terminal_ui._reachable(f"unix:{tmp_path}/none/api.sock") == f"unix:{tmp_path}/none/api.sock"


def test_viewers_end_with_it() -> None:
    made = Warm()
    _, terminal, result = made.start()
    read_until(terminal, b"UI term=")
    made.process.kill()
    made.process.wait(20)
    assert os.read(result, 1) == b""
    made.socket.close()
