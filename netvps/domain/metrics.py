"""What sessions and machines use: counters as the kernel has them, and rates between two readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

MACHINE: Final = ""
"""Key of the machine among the uids of its sessions."""
MAX_MEASURED: Final = 2048
"""Maximum number of sessions that one runner measures at once."""


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading of a session or a machine. Bytes are None if they cannot be read."""

    time: float
    """Seconds on the monotonic clock."""
    cpu_seconds: float
    memory_bytes: int
    received_bytes: int | None = None
    sent_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """Use between two readings: busy CPUs, memory in bytes at the end, and network bytes per second (None: unknown)."""

    cpus: float
    memory_bytes: int
    received_rate: float | None = None
    sent_rate: float | None = None


@dataclass(frozen=True, slots=True)
class MetricsRequest:
    """What a runner measures from now on, in place of what it measured before."""

    session_uids: frozenset[str] = frozenset()
    machine: bool = False

    def __bool__(self) -> bool:
        """Whether anything is requested."""
        return self.machine or bool(self.session_uids)


@dataclass(frozen=True, slots=True)
class MetricsReport:
    """Measurements of the last second, by uid of the session; that of the machine has the key MACHINE."""

    measurements: dict[str, Measurement]


@dataclass(frozen=True, slots=True)
class MetricSample:
    """A measurement of a resource, named "sessions/NAME.OWNER" or "runners/NAME", as users see it."""

    name: str
    time: datetime
    measured: Measurement


def measure(before: Counters, after: Counters) -> Measurement | None:
    """The use between two readings; None if they are not of the same run: no time passed, or a counter fell."""
    seconds = after.time - before.time
    cpu = after.cpu_seconds - before.cpu_seconds
    if seconds <= 0 or cpu < 0:
        return None
    return Measurement(
        cpus=cpu / seconds,
        memory_bytes=after.memory_bytes,
        received_rate=_rate(before.received_bytes, after.received_bytes, seconds),
        sent_rate=_rate(before.sent_bytes, after.sent_bytes, seconds),
    )


def _rate(before: int | None, after: int | None, seconds: float) -> float | None:
    if before is None or after is None or after < before:
        return None
    return (after - before) / seconds
