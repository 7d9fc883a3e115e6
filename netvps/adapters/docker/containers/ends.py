"""Tells which containers the OOM killer ended.

Docker learns of an OOM kill beside the container's end, and forgets it if the end comes first; the cgroup's counter
cannot tell whose end it was: both are hints, and the kernel's log is the proof (ADR 0034).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from netvps.adapters.kernel_log import OomVictim, oom_victims

_REMEMBERED = 4096
"""Containers."""
_NEAR = timedelta(seconds=5)
"""Between the kernel's line and the container's end, by clocks of which one may have been set meanwhile."""


class OomEnds:
    """Remembers the process of each running container, and looks for it in the kernel's log once it has ended."""

    def __init__(self, victims: Callable[[], list[OomVictim]] = oom_victims) -> None:
        self._victims = victims
        self._lock = threading.Lock()
        self._pids: OrderedDict[tuple[str, datetime | None], int] = OrderedDict()
        """By container and start."""
        self._ends: OrderedDict[tuple[str, datetime], bool] = OrderedDict()
        """By container and end."""

    def runs(self, container_id: str, started: datetime | None, pid: int) -> None:
        """Notes the pid of a container's PID 1 on this machine."""
        with self._lock:
            self._pids[container_id, started] = pid
            if len(self._pids) > _REMEMBERED:
                self._pids.popitem(last=False)

    def by_oom(self, container_id: str, started: datetime | None, ended: datetime) -> bool:
        """Whether the OOM killer ended its PID 1; where the pid is unknown, any of its processes just before its end.

        Reads the log once for each end.
        """
        with self._lock:
            if (container_id, ended) not in self._ends:
                pid = self._pids.get((container_id, started), 0)
                # The end may be noted late, on a busy machine by seconds: a pid is proof at any time of the run.
                since = (started or ended) - _NEAR if pid else ended - _NEAR
                self._ends[container_id, ended] = any(
                    since <= victim.time <= ended + _NEAR
                    and (victim.pid == pid if pid else container_id in victim.cgroup)
                    for victim in self._victims()
                )
                if len(self._ends) > _REMEMBERED:
                    self._ends.popitem(last=False)
            return self._ends[container_id, ended]
