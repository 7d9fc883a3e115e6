"""Waits for tasks, and copies what they write."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from netvps.cli.ui.output import note
from netvps.domain.session.exec import Stderr
from netvps.errors import TimedOut, Unavailable, WrongState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.client import Client
    from netvps.domain.task.task import Task

_SOON: Final = 2.0
"""Seconds after which it is said what a task waits for."""
_ONE_CALL: Final = 60.0
_AGAIN: Final = 1.0
_MOST_BREAKS: Final = 60
"""How often in a row a log is opened again, a second later each time: the server or the runner is restarted."""


def attached(connection: Client, made: Sequence[Task]) -> int:
    """Waits for new tasks to end; a single one's output is copied meanwhile. Returns the exit code for this process.

    Raises WrongState if one ended without an exit code of its own, or if one of an array did not succeed.
    """
    array = made[0].array
    if len(made) > 1:
        require_success(until_ended(connection, array))
        return 0
    found, started = connection.wait_tasks(array, _SOON, started=True)
    if not started:
        note(f"task {array}: {found[0].message or 'its runner gets the image'}")
    while not started:
        found, started = connection.wait_tasks(array, _ONE_CALL, started=True)
    if found[0].start_time:
        copy_log(connection, array, follow=True)
    (task,) = until_ended(connection, array)
    if task.exit_code is None or task.cause not in {"UNSPECIFIED", "EXIT_CODE"} or task.state == "CANCELLED":
        require_success([task])
    return task.exit_code or 0


def until_ended(connection: Client, name: str, timeout: float | None = None) -> list[Task]:
    """The tasks of that name, once all have ended. Raises TimedOut after `timeout` seconds."""
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _ONE_CALL if end is None else max(0.0, end - time.monotonic())
        found, ended = connection.wait_tasks(name, min(left, _ONE_CALL))
        if ended:
            return found
        if end is not None and time.monotonic() >= end:
            running = [task for task in found if not task.has_ended]
            raise TimedOut(
                f"{len(running)} of {len(found)} tasks have not ended after {timeout:g} s: see netvps task ls {name}"
            )


def require_success(tasks: Sequence[Task]) -> None:
    """Raises WrongState, which says why, unless all succeeded."""
    failed = [task for task in tasks if task.state != "SUCCEEDED"]
    if not failed:
        return
    first = failed[0]
    why = f"task {first.id} is {first.state}: {first.message}"
    others = f"; {len(failed)} of {len(tasks)} did not succeed: see netvps task ls {first.array}"
    raise WrongState(why + (others if len(tasks) > 1 else ""))


def copy_log(connection: Client, task_id: str, *, follow: bool, tail: int = 0) -> None:
    """Copies what a task wrote to stdout and stderr. While it follows, it goes on over breaks of the connection.

    It then skips as many bytes as it has copied, so none comes twice unless the log was rotated meanwhile.
    """
    copied = {True: 0, False: 0}
    breaks = 0
    while True:
        passed = {True: 0, False: 0}
        try:
            for piece in connection.read_task_logs(task_id, tail, follow):
                apart, breaks = isinstance(piece, Stderr), 0
                new = piece.data[max(0, copied[apart] - passed[apart]) :]
                passed[apart] += len(piece.data)
                copied[apart] += len(new)
                stream = sys.stderr if apart else sys.stdout
                stream.buffer.write(new)
                stream.buffer.flush()
        except Unavailable:
            breaks += 1
            if not follow or tail or breaks > _MOST_BREAKS:
                raise
            time.sleep(_AGAIN)
        else:
            return
