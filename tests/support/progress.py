"""Says on a terminal how far a long run of the tests is, and how long the rest takes by the times of earlier runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVERY: Final = 30.0
"""Seconds between two lines."""
_KEY: Final = "netvps/durations"


def seconds_left(waiting: Sequence[str], known: Mapping[str, float], done: int, elapsed: float) -> float | None:
    """How long `waiting` takes: each test as long as before, an unknown one as long as the mean; None without any."""
    if known:
        mean = sum(known.values()) / len(known)
    elif done:
        mean = elapsed / done
    else:
        return None
    return sum(known.get(name, mean) for name in waiting)


class Progress:
    """A plugin that prints a line of progress every `EVERY` seconds; needs pytest's cache."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._known: dict[str, float] = config.cache.get(_KEY, {})
        self._waiting: dict[str, None] = {}
        self._total = 0
        self._began = self._reported = time.monotonic()
        self._test_began = self._began

    @pytest.hookimpl(trylast=True)  # after -m and -k
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._waiting = dict.fromkeys(item.nodeid for item in session.items)
        self._total = len(self._waiting)
        self._began = time.monotonic()
        self._say(self._began)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._test_began = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        now = time.monotonic()
        self._known[nodeid] = now - self._test_began
        self._waiting.pop(nodeid, None)
        if now - self._reported >= EVERY:
            self._say(now)

    def pytest_sessionfinish(self) -> None:
        self._config.cache.set(_KEY, self._known)

    def _say(self, now: float) -> None:
        self._reported = now
        done = self._total - len(self._waiting)
        left = seconds_left([*self._waiting], self._known, done, now - self._began)
        estimate = "" if left is None else f", about {max(1, round(left / 60))} min left"
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(terminal, pytest.TerminalReporter)
        terminal.ensure_newline()
        terminal.write_line(f"· {done} of {self._total} tests, {(now - self._began) / 60:.0f} min{estimate}")
