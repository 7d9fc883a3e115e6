"""Limits of a session's resources, which change while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_MIB: Final = 1 << 20
_GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """CPUs, memory and processes; 0 means no limit."""

    cpus: float = 0.0
    memory_bytes: int = 0
    pids: int = 0

    def __str__(self) -> str:
        cpus = f"{self.cpus:g} CPUs" if self.cpus else "all CPUs"
        memory = bytes_words(self.memory_bytes) if self.memory_bytes else "all memory"
        return f"{cpus}, {memory}, {self.pids or 'any number of'} processes"


def bytes_words(size: int) -> str:
    """Bytes for people, rounded: 812 MiB, 1.5 GiB."""
    return f"{size / _GIB:.3g} GiB" if size >= _GIB else f"{size / _MIB:.0f} MiB"
