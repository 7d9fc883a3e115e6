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

    def on(self, machine: Limits) -> Limits:
        """What these limits mean on a machine: no limit is all that it has."""
        cpus = min(self.cpus or machine.cpus, machine.cpus or self.cpus)
        memory = min(self.memory_bytes or machine.memory_bytes, machine.memory_bytes or self.memory_bytes)
        return Limits(round(cpus, 9), memory, self.pids)  # Docker counts in billionths

    def differing(self, other: Limits) -> Limits | None:
        """Those limits that differ from another's, and 0 for the rest; None if all are equal."""
        different = Limits(
            self.cpus if self.cpus != other.cpus else 0.0,
            self.memory_bytes if self.memory_bytes != other.memory_bytes else 0,
            self.pids if self.pids != other.pids else 0,
        )
        return different if self != other else None


UNLIMITED: Final = Limits()


def bytes_words(size: int) -> str:
    """Bytes for people, rounded: 812 MiB, 1.5 GiB."""
    return f"{size / _GIB:.3g} GiB" if size >= _GIB else f"{size / _MIB:.0f} MiB"
