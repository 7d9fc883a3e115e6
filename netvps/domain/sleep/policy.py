"""What an owner wants of a session's sleep: which logins wake it, and when it is paused and stopped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from netvps.domain.checks import Checks
from netvps.domain.sleep.hours import AwakeHours

DEFAULT_CPU_FLOOR: Final = 0.05
MIN_IDLE, MAX_IDLE = 30.0, 365 * 86_400.0
_MIN_LIFETIME: Final = 60.0
_MIN_CPU_FLOOR, _MAX_CPU_FLOOR = 0.01, 1024.0


class WakePolicy(StrEnum):
    """Which logins start a stopped session."""

    DEFAULT = "DEFAULT"
    """Any, unless a person stopped it; then those with a terminal, and those that ask for it."""
    ALWAYS = "ALWAYS"
    NEVER = "NEVER"
    """Only those that ask for it: ssh wake+NAME@…"""


@dataclass(frozen=True, slots=True)
class SleepPolicy:
    """When a session is paused and stopped. Times are in seconds. Raises InvalidInput with all violations."""

    pause_after: float | None = None
    """Idle time after which it is paused; 0: never; None: the server's default."""
    stop_after: float | None = None
    """Idle time after which it is stopped, paused or not; 0: never; None: the server's default."""
    lifetime: float = 0.0
    """Time after its last start at which it is stopped, idle or not; 0: no limit."""
    awake_hours: str = ""
    """Hours at whose end it is stopped, as in AwakeHours; '': none."""
    cpu_floor: float = 0.0
    """CPUs from which on its use counts as activity; 0: DEFAULT_CPU_FLOOR."""

    def __post_init__(self) -> None:
        checks = Checks()
        for field, value in (("pause_after", self.pause_after), ("stop_after", self.stop_after)):
            checks.require(
                not value or MIN_IDLE <= value <= MAX_IDLE,
                field,
                f"{value or 0:g} seconds are not between 30 seconds and 365 days; 0 means never",
            )
        checks.require(
            self.lifetime == 0 or _MIN_LIFETIME <= self.lifetime <= MAX_IDLE,
            "lifetime",
            f"{self.lifetime:g} seconds are not between 1 minute and 365 days; 0 means no limit",
        )
        with checks.nested():
            AwakeHours.parse(self.awake_hours, "awake_hours")
        checks.require(
            self.cpu_floor == 0 or _MIN_CPU_FLOOR <= self.cpu_floor <= _MAX_CPU_FLOOR,
            "cpu_floor",
            f"{self.cpu_floor} is not between {_MIN_CPU_FLOOR} and {_MAX_CPU_FLOOR:g}; 0 means {DEFAULT_CPU_FLOOR}",
        )
        checks.done()

    @property
    def hours(self) -> AwakeHours | None:
        """Its awake hours; None if it has none."""
        return AwakeHours.parse(self.awake_hours, "awake_hours")


@dataclass(frozen=True, slots=True)
class SleepDefaults:
    """Idle times in seconds of sessions whose policy has none; 0: never."""

    pause_after: float = 0.0
    stop_after: float = 0.0
