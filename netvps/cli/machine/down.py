"""`netvps down`: ends what `netvps up` started, and says what it leaves."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.machine import service
from netvps.cli.ui.output import note
from netvps.cli.ui.parse import DURATION
from netvps.cli.ui.progress import TICK, progress
from netvps.display.units import duration_words
from netvps.errors import ConfigError, NotPermitted, TimedOut
from netvps.exit_codes import Cancelled
from netvps.process.pid_file import start_time

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS: Final = 90.0
"""How long an end may take."""
INTERFACES = Path("/sys/class/net")


@click.command("down")
@click.option("--uninstall", is_flag=True, help="Remove what `up --install` made: it starts at boot no more.")
@click.option("--timeout", type=DURATION, default=SECONDS, show_default="1m30s", help="How long to wait for the end.")
def down(timeout: float, uninstall: bool) -> None:
    """End what `netvps up` started on this machine.

    Sessions go on running, and their data stays; `netvps up` finds them again.
    """
    from netvps.config import paths
    from netvps.domain.overlay.kernel.links import OBJECT_NAMES

    if uninstall:
        service.uninstall()
    state = paths().state
    if not end(state, timeout):
        note(f"nothing to end: `netvps up` does not run on {state}")
        return
    if service.installed():
        note("systemd starts it again at the next boot; `netvps down --uninstall` ends that")
    note("netvps is down; session containers go on running, `netvps up` finds them again")
    note(f"data stays in {state}; to be rid of a session's container, `netvps up`, then `netvps rm NAME`")
    if (INTERFACES / OBJECT_NAMES.device).exists():
        note("the sessions' network stays, too; `netvps network purge` removes it from this machine")


def end(state_dir: str | Path | None, timeout: float = SECONDS) -> bool:
    """Ends the `netvps up` on this state folder; False if none runs."""
    from netvps.config import paths

    state = paths(state_dir).state
    if not held(state / "up.lock"):
        return False
    with _process(state / "up.pid") as (pid, process):
        _end(pid, process, timeout)
    return True


def held(lock: Path) -> bool:
    """Whether a process holds this lock, which the kernel frees however that process ends."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError:
        raise NotPermitted(f"{lock} belongs to another account: end netvps as that account, or as root") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _process(file: Path) -> Iterator[tuple[int, int]]:
    """The process that wrote `file`: its number, and a descriptor that no later process of that number gets."""
    try:
        noted = json.loads(file.read_text(encoding="utf-8"))
        pid, started = int(noted["pid"]), int(noted["started"])
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(
            f"something runs there, but {file} does not say what: it starts or ends right now; try again"
        ) from None
    try:
        if start_time(pid) != started:
            raise ConfigError(f"{file} names process {pid}, which is another one by now; find the right one and end it")
        yield pid, descriptor
    finally:
        os.close(descriptor)


def _end(pid: int, process: int, timeout: float) -> None:
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise NotPermitted(f"process {pid} is not yours to end; become its user, or root") from None
    deadline = time.monotonic() + timeout
    with progress() as shown:
        shown.show("ending runner, gateway and control plane; connections get a moment to end by themselves")
        try:
            while not select.select([process], [], [], TICK)[0]:
                if time.monotonic() > deadline:
                    raise TimedOut(
                        f"--timeout {duration_words(timeout)} is over and process {pid} still ends;"
                        " a second `netvps down` ends it at once"
                    )
                shown.tick()
        except KeyboardInterrupt:
            raise Cancelled(f"stopped waiting; process {pid} goes on ending in the background") from None
