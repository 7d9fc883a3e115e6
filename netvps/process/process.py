"""Common start and end of netvps processes, independent of settings."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import faulthandler
import gc
import os
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

import structlog
import uvloop

from netvps import exit_codes
from netvps.errors import Exhausted, InternalError, NetvpsError, Unavailable
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from netvps.process.readiness import Readiness

_GARBAGE: Final = 2_000
"""Objects between two collections, as Python 3.13 has it."""
_PR_SET_PDEATHSIG = 1
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def guarded(name: str, work: Callable[[], int], failed: Callable[[str, int], None] = lambda _error, _code: None) -> int:
    """Runs `work` and returns its exit code.

    An error is one line on stderr, is passed to `failed`, and sets the exit code.
    """
    try:
        return work()
    except NetvpsError as error:
        failed(str(error), exit_codes.of(error))
        return fail(name, str(error), exit_codes.of(error))
    except exit_codes.Cancelled as error:
        return fail(name, str(error), exit_codes.INTERRUPTED)
    except KeyboardInterrupt:
        return fail(name, "interrupted", exit_codes.INTERRUPTED)


def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Runs a program's coroutine. Raises only NetvpsError and KeyboardInterrupt: any other exception is a bug."""
    gc.freeze()  # what was imported stays: a collection of all objects would take a tenth of a second to look at it
    gc.set_threshold(_GARBAGE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_unwrapped(work))


def fail(name: str, sentence: str, code: int) -> int:
    """Prints the error line, and returns the exit code."""
    print(f"netvps {name}: {sentence}", file=sys.stderr)  # noqa: T201 — the error line
    return code


async def beating(program: Coroutine[Any, Any, None], readiness: Readiness) -> None:
    """Runs the program, and writes heartbeats while it runs."""
    async with Tasks() as tasks:
        tasks.start(readiness.beat(), name="signs of life")
        await program


async def _unwrapped(program: Coroutine[Any, Any, None]) -> None:
    try:
        await program
    except BaseExceptionGroup as group:
        raise _first(group) from group
    except (NetvpsError, asyncio.CancelledError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise Exhausted(
                f"{error.strerror}: {error.filename or 'a file'}; check the disk, then start again"
            ) from error
        structlog.get_logger().exception("the program failed")
        raise InternalError(f"a bug of netvps ended this program ({type(error).__name__}); see its log") from error


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to report of several: the first NetvpsError, else a bug."""
    ours, rest = group.split(NetvpsError)
    if rest is not None:
        structlog.get_logger().error("the program failed", exc_info=rest)
    found: BaseException | None = ours
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or InternalError("a bug of netvps ended this program; see its log")


def allow_many_files() -> None:
    """Raises the limit of open files to the maximum: a connection needs one or two, and the usual 1,024 are few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def die_with(parent: int | None, number: signal.Signals = signal.SIGTERM) -> None:
    """Asks the kernel for a signal when the parent dies; ignores Ctrl-C, which the parent passes on."""
    if parent is None:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1, 2)  # dumps stacks to stderr, before the parent kills a hanging child
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # the parent died before prctl took effect
        raise Unavailable("the program that started this one is gone")
