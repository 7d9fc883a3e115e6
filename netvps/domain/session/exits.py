"""How a container ended, and the backoff before it is started again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from netvps.domain.session.container import SIGKILL_EXIT, Container, Status
from netvps.domain.session.lifecycle import RUNNER_LOST, STOPPED_CAUSE
from netvps.domain.session.session import LastExit
from netvps.domain.session.spec import RestartPolicy, SessionSpec

_SIGNAL_EXIT: Final = 128
_LAST_SIGNAL: Final = 64
_STEADY: Final = timedelta(seconds=60)


def last_exit(
    container: Container, *, asked: bool, survived_oom: bool, booted: datetime | None = None
) -> LastExit | None:
    """How a container ended; None if it never ran.

    `asked`: the runner stopped it. `survived_oom`: an OOM kill was seen while it kept running, and none since. Exit
    code 137 alone does not prove an OOM kill, because any SIGKILL has it. `booted` is when the machine last started.
    """
    if container.ended is None or container.status is not Status.EXITED:
        return None
    code = container.exit_code
    if asked:
        cause = STOPPED_CAUSE
    elif booted and container.started and container.started < booted:
        cause = RUNNER_LOST
    elif code == SIGKILL_EXIT and (container.ended_by_oom or (container.oom_killed and not survived_oom)):
        cause = "oom"
    elif _SIGNAL_EXIT < code <= _SIGNAL_EXIT + _LAST_SIGNAL:
        cause = "killed"
    else:
        cause = "exit"
    return LastExit(exit_code=code, cause=cause, end_time=container.ended)


def is_steady(container: Container) -> bool:
    """Whether the last run was long enough for failures before it to be forgotten."""
    return bool(container.started and container.ended and container.ended - container.started >= _STEADY)


def why_stays_down(spec: SessionSpec, exit_code: int, failures: int) -> str:
    """Why a container that ended by itself is not restarted; '' if it is. `failures` in a row include this end."""
    ended = f"its container ended by itself (exit code {exit_code})"
    match spec.restart_policy:
        case RestartPolicy.NEVER:
            return f"{ended}, and its restart policy is never"
        case RestartPolicy.ON_FAILURE if exit_code == 0:
            return f"{ended}, and its restart policy restarts it after failures only"
        case RestartPolicy.ON_FAILURE if spec.max_restarts and failures > spec.max_restarts:
            return f"{ended}, and its restart policy allows {spec.max_restarts} restarts in a row"
    return ""


def restart_delay(failures: int, jitter: float) -> float:
    """Seconds before start number `failures` + 1 of a container that keeps exiting: 1 to 60; `jitter` in [0, 1)."""
    if failures <= 0:
        return 0.0
    longest = min(60.0, 2.0 ** min(failures, 10))
    return max(1.0, longest * (0.5 + jitter / 2))
