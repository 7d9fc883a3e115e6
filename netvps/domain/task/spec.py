"""What a task runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from netvps.domain.checks import Checks, shown
from netvps.domain.session.spec import SessionSpec

MAX_ARRAY: Final = 500
DEFAULT_CPUS: Final = 1.0
_MAX_WORDS, _MAX_COMMAND = 1000, 32 << 10
_MAX_ENV: Final = 32 << 10
_MAX_ARRAY_BYTES: Final = 4 << 20
_MAX_TIMEOUT: Final = 365 * 86_400.0
_MAX_RETRIES: Final = 100


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A command and what it runs in. The constructor raises InvalidInput with all violations."""

    command: tuple[str, ...]
    """Program and arguments."""
    container: SessionSpec = field(default_factory=lambda: SessionSpec(cpus=DEFAULT_CPUS))
    """Image, limits, environment, GPUs, filter of runners and placement; the rest is for sessions."""
    timeout: float = 0.0
    """Seconds that the command may run; 0 means no limit."""
    retries: int = 0
    """How often it is started again after its runner was lost."""

    def __post_init__(self) -> None:
        checks = Checks()
        need, command = checks.require, self.command
        size = sum(len(word.encode()) + 1 for word in command)
        need(bool(command) and bool(command[0]), "command", "no program is named: give one, for example echo")
        need(len(command) <= _MAX_WORDS, "command", f"{len(command)} words are more than {_MAX_WORDS}: use a script")
        need(size <= _MAX_COMMAND, "command", f"{size} bytes are more than {_MAX_COMMAND}: use a script")
        need(not any("\0" in word for word in command), "command", "a word contains a NUL byte")
        env = sum(len(name.encode()) + len(value.encode()) for name, value in self.container.env.items())
        need(env <= _MAX_ENV, "env", f"{env} bytes in all are more than {_MAX_ENV}: use a file")
        need(
            self.timeout == 0 or (math.isfinite(self.timeout) and 1 <= self.timeout <= _MAX_TIMEOUT),
            "timeout",
            f"{self.timeout:g} s are not between 1 s and 365 days; 0 means no limit",
        )
        need(0 <= self.retries <= _MAX_RETRIES, "retries", f"{self.retries} is not between 0 and {_MAX_RETRIES}")
        checks.done()

    def require_count(self, count: int) -> None:
        """Raises InvalidInput if that many tasks cannot be one array."""
        checks = Checks()
        checks.require(
            1 <= count <= MAX_ARRAY,
            "count",
            f"{shown(count)} is not between 1 and {MAX_ARRAY}, the most tasks of an array: run several arrays",
        )
        size = sum(len(word.encode()) for word in (*self.command, *self.container.env.values()))
        checks.require(
            size * count <= _MAX_ARRAY_BYTES,
            "count",
            f"{count} tasks with {size} bytes of command and environment each are more than {_MAX_ARRAY_BYTES} bytes: "
            "use a file",
        )
        checks.done()
