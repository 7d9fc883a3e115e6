"""`netvps tui` in a real terminal (tmux): it starts, resizes, goes into a session and back, and leaves all clean."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.e2e.system import NETVPS, System, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


class Terminal:
    """A terminal that a person types on, and what it shows."""

    def __init__(self, system: System) -> None:
        self.socket = unique("nve-tmux")
        environment = system.full_environment() | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        size = ("-x", "100", "-y", "30")
        self._tmux("-f", "/dev/null", "new-session", "-d", *size, "sh", environment=environment)
        self._tmux("send-keys", "-l", "PS1='prompt> '")
        self._tmux("send-keys", "Enter")

    def _tmux(self, *words: str, environment: dict[str, str] | None = None) -> str:
        command = ("tmux", "-L", self.socket, *words)
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=20)
        return answer.stdout

    def line(self, *words: str) -> None:
        """Types a command line."""
        self._tmux("send-keys", "-l", " ".join(f"'{word}'" for word in words))
        self._tmux("send-keys", "Enter")

    def keys(self, *keys: str) -> None:
        """Presses keys."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def text(self) -> str:
        return self._tmux("capture-pane", "-p")

    @property
    def alternate(self) -> bool:
        """Whether a program has the whole screen."""
        return self._tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def shows(self, *words: str, seconds: float = 30) -> str:
        """Waits until the screen has these words."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(word in (text := self.text) for word in words):
                return text
            time.sleep(0.1)
        raise AssertionError(f"{words} not on the screen:\n{self.text}")

    def close(self) -> None:
        with suppress(subprocess.CalledProcessError):
            self._tmux("kill-server")


@pytest.fixture
def terminal(system: System) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    made = Terminal(system)
    yield made
    made.close()


def test_a_person_goes_into_a_session_and_back_to_the_same_row(
    system: System, busybox: str, terminal: Terminal
) -> None:
    for name in ("first", "second"):
        system.netvps("create", name, "--image", busybox)
    try:
        terminal.shows("prompt>")
        terminal.line(*NETVPS, "tui")
        terminal.shows("2 sessions", "▌ first", "● RUNNING", "s ssh")
        terminal.keys("j")
        terminal.shows("▌ second", "$ netvps ssh second")
        terminal.resize(60, 16)
        terminal.shows("▌ second", "Sessions")
        terminal.resize(100, 30)
        terminal.shows("ADDRESS")
        terminal.keys("s")
        terminal.shows("built-in shell")
        terminal.line("echo", "here", "on", "second")
        terminal.shows("here on second")
        assert "2 sessions" not in terminal.text
        terminal.keys("C-c")  # for the shell there, not for what waits below
        terminal.line("exit")
        terminal.shows("2 sessions", "▌ second")
        terminal.keys("C-z")
        terminal.keys("x")
        terminal.shows("Stop second?")
        terminal.keys("Enter")
        terminal.shows("○ STOPPED")
        terminal.keys("q")
        terminal.shows("prompt>")
        assert not terminal.alternate
        terminal.line("stty", "-a")
        text = terminal.shows("icanon")
        assert "-icanon" not in text
        assert "-echo " not in text
        terminal.line("printf", "typed")
        terminal.shows("typed")
    finally:
        system.netvps("rm", "--yes", "first", "second")


def test_without_a_server_it_says_so_and_recovers(system: System, busybox: str, terminal: Terminal) -> None:
    system.netvps("create", "third", "--image", busybox)
    try:
        system.netvps("down")
        terminal.line(*NETVPS, "tui")
        terminal.shows("cannot reach", "netvps up", "q leaves")
        system.up()
        terminal.shows("1 session", "third", seconds=40)
        system.netvps("down")
        terminal.shows("! what you see is", "old:")
        system.up()
        terminal.shows("1 session", seconds=40)
        terminal.keys("C-c")
        terminal.shows("prompt>")
    finally:
        system.netvps("rm", "--yes", "third")
