"""Where the terminal UI refuses to start, and what it says. It is started for real in tests/e2e."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from netvps_tui.run import require_terminal

from netvps.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_nothing_can_be_drawn_it_says_what_else_to_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(ConfigError, match=r"needs a terminal.*netvps ls"):
        require_terminal()
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(ConfigError, match=r"type 'dumb': set TERM"):
        require_terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    require_terminal()


def test_a_rehearsal_leaves_a_process_that_can_fork() -> None:
    """In a process of its own, as that of the tests has threads."""
    lines = (
        "import threading",
        "from netvps_tui.run import rehearse",
        "rehearse()",
        "assert threading.active_count() == 1, threading.enumerate()",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=120)
