"""Tracks how a session's container ends, run after run: the cause, and the backoff before the next start."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from netvps.domain.session.container import Container, Status
from netvps.domain.session.exits import is_steady, last_exit, restart_delay
from netvps.domain.session.lifecycle import STOPPED_CAUSE
from netvps.domain.session.session import LastExit

# An OOM kill this long before the container's end hit another process in it, and was survived.
_OOM_SURVIVED = timedelta(seconds=5)


def boot_time(root: Path = Path("/")) -> datetime | None:
    """Returns when this machine started, by its present clock; None if /proc/stat (proc(5)) does not say."""
    try:
        lines = (root / "proc/stat").read_text().splitlines()
    except OSError:
        return None
    seconds = [line.split()[1] for line in lines if line.startswith("btime ")]
    return datetime.fromtimestamp(int(seconds[0]), UTC) if seconds else None


class RestartBackoff:
    """The restart backoff of a session; is given the container at each inspection."""

    def __init__(self, booted: datetime | None = None) -> None:
        """`booted` is when the machine last started; None if unknown."""
        self._booted = booted
        self.last: LastExit | None = None
        self._ran: tuple[str, datetime | None] | None = None
        self._ended: str | None = None
        self._held: tuple[str, datetime | None] | None = None
        """Container and start of a run that was held: its end was asked for, whatever is desired by now."""
        self._failures = 0
        self._oom_kills = 0
        self._oom_time: datetime | None = None
        self._not_before: datetime | None = None
        self._noted: datetime | None = None
        """When `_not_before` was set; an earlier time than that proves that the clock was set back."""

    def observe(self, container: Container | None, *, asked: bool, now: datetime) -> None:
        """Records an inspected container. `asked`: it is desired to be stopped."""
        if container is None:
            return
        if container.status in {Status.RUNNING, Status.PAUSED}:
            self._see_running(container, now)
        elif container.status is Status.EXITED and container.run != self._ended:
            self._see_ended(container, asked=asked, now=now)

    def started(self, container: Container, now: datetime) -> None:
        """Records that it was started, so that an immediate exit counts, too. One that was held ended then."""
        self._ran = (container.id, None)
        self._not_before = None
        if container.held:
            self.last = LastExit(exit_code=0, cause=STOPPED_CAUSE, end_time=now)

    def wait(self, now: datetime) -> float:
        """Returns the seconds until it may start; 0 if now, or if the clock was set back."""
        if self._not_before is None or self._noted is None or now < self._noted:
            return 0.0
        return max(0.0, (self._not_before - now).total_seconds())

    def forgive(self) -> None:
        """Resets the backoff, for a new generation."""
        self._failures, self._not_before = 0, None

    def _see_running(self, container: Container, now: datetime) -> None:
        run = (container.id, container.started)
        if run != self._ran:
            self._ran, self._oom_kills, self._oom_time = run, 0, None
        kills = container.oom_kills if container.oom_kills is not None else int(container.oom_killed)
        if container.ending:
            self._held = run
        if kills > self._oom_kills:
            self._oom_kills, self._oom_time = kills, now

    def _see_ended(self, container: Container, *, asked: bool, now: datetime) -> None:
        first_look = self._ended is None and self._ran is None
        asked = asked or self._held == (container.id, container.started)
        self._ended = container.run
        survived = (
            self._oom_time is not None
            and container.ended is not None
            and container.ended - self._oom_time > _OOM_SURVIVED
        )
        self.last = last_exit(container, asked=asked, survived_oom=survived, booted=self._booted) or self.last
        if asked or first_look or self._ran is None or self._ran[0] != container.id:
            return
        self._failures = 1 if is_steady(container) else self._failures + 1
        delay = restart_delay(self._failures, random.random())  # noqa: S311 — no secret
        self._not_before, self._noted = now + timedelta(seconds=delay), now
