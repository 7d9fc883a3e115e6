"""How a container ended, and the backoff before it is started again."""

from __future__ import annotations

from typing import Final

from netvps.domain.session.container import Container, Status
from netvps.domain.session.session import LastExit

_SIGKILL_EXIT: Final = 137
_SIGNAL_EXIT: Final = 128
_LAST_SIGNAL: Final = 64


def last_exit(container: Container, *, asked: bool, survived_oom: bool) -> LastExit | None:
    """How a container ended; None if it never ran.

    `asked`: the runner stopped it. `survived_oom`: an OOM kill was seen while it kept running, and none since. Exit
    code 137 alone does not prove an OOM kill, because any SIGKILL has it.
    """
    if container.ended is None or container.status is not Status.EXITED:
        return None
    code = container.exit_code
    if asked:
        cause = "stopped"
    elif code == _SIGKILL_EXIT and container.oom_killed and not survived_oom:
        cause = "oom"
    elif _SIGNAL_EXIT < code <= _SIGNAL_EXIT + _LAST_SIGNAL:
        cause = "killed"
    else:
        cause = "exit"
    return LastExit(exit_code=code, cause=cause, end_time=container.ended)


def restart_delay(failures: int, jitter: float) -> float:
    """Seconds before start number `failures` + 1 of a container that keeps exiting: 1 to 60; `jitter` in [0, 1)."""
    if failures <= 0:
        return 0.0
    longest = min(60.0, 2.0 ** min(failures, 10))
    return max(1.0, longest * (0.5 + jitter / 2))
