"""Starts a program detached from the terminal, and waits until it serves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from netvps.errors import InternalError, TimedOut
from netvps.exit_codes import Cancelled
from netvps.process.log_file import rotate_if_too_long
from netvps.process.readiness import Outcome, await_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SECONDS: Final = 150.0
_END_SECONDS: Final = 30.0


def start_in_background(name: str, arguments: Sequence[str], log_file: Path) -> Outcome:
    """Starts module netvps.programs.NAME with its output in `log_file`, and returns the outcome. Ctrl-C stops it.

    Raises TimedOut, or InternalError if it died without a message.
    """
    rotate_if_too_long(log_file)
    reading, writing = os.pipe()
    module = ["-P", "-m", f"netvps.programs.{name}"]  # -P: do not import modules from the current folder
    command = [sys.executable, *module, *arguments, "--foreground", "--ready-fd", str(writing)]
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
        )
    finally:
        os.close(writing)
        os.close(output)
    try:
        outcome = asyncio.run(_wait(reading))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # wait for the child to end first
        process.terminate()
        process.wait(_END_SECONDS)
        raise Cancelled("interrupted; the programs it had started were stopped") from None
    except TimeoutError:
        process.terminate()
        raise TimedOut(f"netvps {name} was not ready after {_SECONDS:.0f} s: {log_file} says why") from None
    if outcome is None:
        raise InternalError(f"netvps {name} ended with code {process.wait()} before it was ready: see {log_file}")
    if outcome.error:
        process.wait(_END_SECONDS)
    else:
        process.returncode = 0  # it outlives this process: avoids Popen's ResourceWarning
    return outcome


async def _wait(descriptor: int) -> Outcome | None:
    async with asyncio.timeout(_SECONDS):
        return await await_outcome(descriptor)
