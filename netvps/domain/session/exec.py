"""Messages between a command in a running session and its caller."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.checks import Checks, shown
from netvps.domain.names import check_unix_user

_MAX_SIZE = 10_000
_MAX_ARGV = 120 * 1024  # passed as one argument to the login shell; Linux limits that to 128 KiB
_MAX_TERM = 64


@dataclass(frozen=True, slots=True)
class TerminalSize:
    """Columns and rows of a terminal."""

    columns: int
    rows: int

    def __post_init__(self) -> None:
        checks = Checks()
        for name, value in (("columns", self.columns), ("rows", self.rows)):
            checks.require(1 <= value <= _MAX_SIZE, name, f"{value} is not between 1 and {_MAX_SIZE}")
        checks.done()


@dataclass(frozen=True, slots=True)
class ExecStart:
    """The command, its user and its terminal (None: no terminal)."""

    name: str
    argv: tuple[str, ...]
    user: str = "root"
    terminal: TerminalSize | None = None
    term: str = ""

    def __post_init__(self) -> None:
        checks = Checks()
        checks.require(bool(self.argv), "argv", "nothing to run: give a program and its arguments")
        checks.require(all("\0" not in part for part in self.argv), "argv", "an argument holds a NUL byte")
        size = sum(len(part.encode(errors="surrogateescape")) + 1 for part in self.argv)
        checks.require(size <= _MAX_ARGV, "argv", f"{size} bytes are more than {_MAX_ARGV}: send large data by stdin")
        checks.require(
            len(self.term) <= _MAX_TERM and self.term.isprintable(),
            "term",
            f"{shown(self.term)} is not up to {_MAX_TERM} printable characters",
        )
        with checks.nested():
            check_unix_user(self.user)
        checks.done()


@dataclass(frozen=True, slots=True)
class Stdin:
    """Bytes for the command's standard input."""

    data: bytes


@dataclass(frozen=True, slots=True)
class StdinEof:
    """End of the standard input."""


@dataclass(frozen=True, slots=True)
class Stdout:
    """Bytes of the command's standard output."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Stderr:
    """Bytes of the command's standard error."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """How the command ended: 128+N for death by signal N, with the signal's name (without SIG)."""

    code: int
    signal: str = ""


ToCommand = Stdin | StdinEof | TerminalSize
FromCommand = Stdout | Stderr | Exit
