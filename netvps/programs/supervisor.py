"""Keeps a child process running: started again with back-off when it dies, stopped in two stages."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

from netvps.cli import exit_codes
from netvps.errors import ConfigError, InternalError, NetvpsError, TimedOut, Unauthenticated, Unavailable
from netvps.faults import ENABLED
from netvps.programs.readiness import await_outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START_SECONDS: Final = 60.0
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before each restart, the last one for ever
"""Without back-off where faults are injected: many deaths in a row are what is asked for there."""
_LONG_RUN: Final = 60.0  # seconds after which a run counts as good, and the pauses begin anew
_ERRORS: Final[dict[int, type[NetvpsError]]] = {
    exit_codes.CONFIGURATION: ConfigError,
    exit_codes.UNAVAILABLE: Unavailable,
    exit_codes.TIMEOUT: TimedOut,
    exit_codes.NOT_ALLOWED: Unauthenticated,
}

log = structlog.get_logger()


class Child:
    """One program of netvps in a process of its own, which ends when we end, however we end."""

    def __init__(self, name: str, arguments: Sequence[str], environ: Mapping[str, str], stop_seconds: float) -> None:
        """`name` is that of a module in netvps.programs; `stop_seconds` is what a graceful stop may take."""
        self.name = name
        self._arguments = [*arguments]
        self._environ = dict(environ)
        self._stop_seconds = stop_seconds
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *once: str) -> None:
        """Starts it and waits until it serves; `once` are arguments for this start only, and none after it.

        Raises the error that it ended with, or TimedOut.
        """
        reading, writing = os.pipe()
        module = ["-m", f"netvps.programs.{self.name}", "--parent", str(os.getpid()), "--ready-fd", str(writing)]
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *module, *self._arguments, *once, pass_fds=(writing,), env=self._environ
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        try:
            async with asyncio.timeout(START_SECONDS):
                outcome = await await_outcome(reading)
        except TimeoutError:
            await self.stop()
            raise TimedOut(f"{self.name} was not ready after {START_SECONDS:.0f} s: its log says why") from None
        if outcome is None:
            code = await self._process.wait()
            raise InternalError(f"{self.name} ended with code {code} before it was ready: its log says why")
        if outcome.error:
            await self._process.wait()
            raise _ERRORS.get(outcome.code, InternalError)(outcome.error)

    async def keep(self) -> None:
        """Waits for its end and starts it again, until cancelled."""
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            code = await self._process.wait() if self._process else None
            failures = 0 if asyncio.get_running_loop().time() - began > _LONG_RUN else failures
            pause = _PAUSES[0 if ENABLED else min(failures, len(_PAUSES) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311 — jitter
            log.error("a program ended by itself", child=self.name, code=code, restart_in=round(pause, 1))
            await asyncio.sleep(pause)
            failures += 1
            try:
                await self.start()
                log.info("a program runs again", child=self.name)
            except NetvpsError as error:
                log.warning("a program does not start", child=self.name, error=str(error))

    async def stop(self) -> None:
        """Ends it: gracefully, then at once, then by force. Fine to call twice."""
        process = self._process
        if process is None:
            return
        for number, seconds in ((signal.SIGTERM, self._stop_seconds), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
            if process.returncode is not None:
                return
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await process.wait()

    def hurry(self) -> None:
        """Passes on that the end shall come at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
