"""Progress on stderr: one line that is redrawn on a terminal, a line for each news elsewhere."""

from __future__ import annotations

import itertools
import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from netvps.cli.ui.terminal import moving
from netvps.display.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_FRAMES: Final = "|/-\\"
_BYTES: Final = re.compile(r"(?P<done>\d+) [KMGT]?B of (?P<total>[1-9]\d*) [KMGT]?B")
"""How a runner tells how far a transfer is."""
_BAR: Final = 20
_COLUMNS: Final = 80
"""Where the terminal does not say."""
TICK: Final = 0.1
"""Seconds between two frames."""


class Progress(Protocol):
    """Where a command tells how it gets on."""

    def show(self, text: str) -> None:
        """What goes on now."""

    def tick(self) -> None:
        """Time passed, nothing new."""

    def print(self, text: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """Leaves the terminal tidy."""


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
    except OSError:
        return _COLUMNS


def with_bar(text: str) -> str:
    """The text; behind it, how much of a transfer is done, if it says so: "34 MB of 120 MB"."""
    found = _BYTES.search(text)
    if found is None:
        return text
    part = min(1.0, int(found["done"]) / int(found["total"]))
    return f"{text} [{('#' * round(part * _BAR)).ljust(_BAR, '.')}] {part:.0%}"


class Spinner:
    """One line, redrawn in place."""

    def __init__(self) -> None:
        utf = "utf" in (sys.stderr.encoding or "").lower()
        self._frames = itertools.cycle(_FRAMES if utf else _ASCII_FRAMES)
        self._text = ""

    def show(self, text: str) -> None:
        """Shows `text` in place of the one before, with a bar if it counts bytes."""
        self._text = with_bar(clean(text))
        self.tick()

    def tick(self) -> None:
        """Turns the wheel."""
        if self._text:
            line = f"{next(self._frames)} {self._text}"[: _columns() - 1]
            self._write(f"\r{line}\x1b[K")

    def print(self, text: str) -> None:
        """Prints a line above."""
        self._write(f"\r\x1b[K{clean(text)}\n")
        self.tick()

    def close(self) -> None:
        """Removes the line."""
        if self._text:
            self._write("\r\x1b[K")
        self._text = ""

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class Lines:
    """A line for each text that is new, for logs, pipes and screen readers."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, text: str) -> None:
        """Prints `text` unless it was the last one."""
        if text != self._last:
            self._last = text
            self.print(text)

    def tick(self) -> None:
        """Nothing new is nothing to print."""

    def print(self, text: str) -> None:
        """Prints a line."""
        print(clean(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Nothing to tidy."""


@contextmanager
def progress() -> Iterator[Progress]:
    """The kind that suits stderr, tidied up at the end of the block."""
    shown: Progress = Spinner() if moving() else Lines()
    try:
        yield shown
    finally:
        shown.close()
