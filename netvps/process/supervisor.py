"""Keeps a child process running: restarts it with backoff when it dies or hangs, and stops it in two stages."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from netvps import exit_codes
from netvps.errors import ConfigError, InternalError, NetvpsError, TimedOut, Unauthenticated, Unavailable
from netvps.faults import ENABLED
from netvps.process.readiness import Outcome, Signs
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

START_SECONDS: Final = 60.0
_LONGEST_START: Final = 960.0
# Tests that inject faults kill the child many times in a row.
_PAUSES: Final = (0.1,) if ENABLED else (0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each restart; the last one repeats. The first is short: logins and sessions wait for it."""
_LONG_RUN: Final = 60.0  # seconds after which a run counts as healthy, and the backoff is reset
_LAST_WORDS: Final = 1.0  # seconds for dumping its stacks to the log
_ERRORS: Final[dict[int, type[NetvpsError]]] = {
    exit_codes.CONFIGURATION: ConfigError,
    exit_codes.UNAVAILABLE: Unavailable,
    exit_codes.TIMEOUT: TimedOut,
    exit_codes.NOT_ALLOWED: Unauthenticated,
}

log = structlog.get_logger()


class ChildDied(InternalError):
    """The child ended without a message before it was ready: killed, or by a bug. A restart may help."""


@dataclass(frozen=True, slots=True)
class Watchdog:
    """How long a child may be silent before it is killed; all in seconds.

    Two stages, so that no child is killed only because it was suspended together with its parent (a laptop that slept):
    after `silent` a warning is logged, and the child is killed only if `grace` more pass without a heartbeat.
    """

    beat_every: float = 2.0
    silent: float = 15.0
    grace: float = 15.0


class Child:
    """A netvps program in a child process, which ends when the parent does."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        stop_seconds: float,
        watchdog: Watchdog | None = None,
        *,
        pass_fds: Sequence[int] = (),
        output: int | None = None,
    ) -> None:
        """`name` is a module in netvps.programs; `stop_seconds` is the limit of a graceful stop.

        `pass_fds` are inherited. `output` is a file descriptor for what it prints; None: this program's.
        """
        self.name = name
        self.serving = asyncio.Event()
        """Set while the child is ready, as far as is known."""
        self.deaths = 0
        """Number of times that it died or hung since the first start."""
        self._arguments = [*arguments]
        self._environ = dict(environ)
        self._stop_seconds = stop_seconds
        self._watchdog = watchdog or Watchdog()
        self._pass_fds = (*pass_fds,)
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._signs: Signs | None = None
        self._hangs = False
        self._start_seconds = START_SECONDS

    @property
    def pid(self) -> int:
        """Its process id; 0 before the first start."""
        return self._process.pid if self._process is not None else 0

    async def start(self, *once: str) -> None:
        """Starts the child and waits until it serves; the arguments `once` are for this start only.

        Raises the error that it ended with, ChildDied if it gave none, or TimedOut. A start that takes too long gives
        the next one twice the time: else a child on a machine that is too busy for the limit would never serve.
        """
        self._hangs = False
        signs = self._signs = await self._launch(once)
        seconds = self._start_seconds
        try:
            async with asyncio.timeout(seconds):
                outcome = await signs.outcome()
        except TimeoutError:
            await self.stop()
            self._start_seconds = min(2 * seconds, _LONGEST_START)
            raise TimedOut(f"{self.name} was not ready after {seconds:.0f} s: see its log") from None
        await self._take(outcome)
        self._start_seconds = START_SECONDS
        self.serving.set()

    async def _launch(self, once: Sequence[str]) -> Signs:
        reading, writing = os.pipe()
        module = ["-P", "-m", f"netvps.programs.{self.name}", "--parent", str(os.getpid()), "--ready-fd", str(writing)]
        watched = ["--beat-every", str(self._watchdog.beat_every)]
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *module,
                *watched,
                *self._arguments,
                *once,
                pass_fds=(writing, *self._pass_fds),
                stdout=self._output,
                stderr=self._output,
                env=self._environ,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        if self._signs is not None:
            self._signs.close()
        return await Signs.of(reading)

    async def _take(self, outcome: Outcome | None) -> None:
        assert self._process is not None  # noqa: S101 — launched
        if outcome is None:
            code = await self._process.wait()
            raise ChildDied(f"{self.name} ended with code {code} before it was ready: see its log")
        if outcome.error:
            await self._process.wait()
            raise _ERRORS.get(outcome.code, InternalError)(outcome.error)

    async def supervise(self, start: Callable[[], Awaitable[None]] | None = None) -> None:
        """Waits for the child's end and restarts it, until cancelled; `start` replaces `self.start`."""
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            code = await self._end()
            self.serving.clear()
            self.deaths += 1
            failures = 0 if asyncio.get_running_loop().time() - began > _LONG_RUN else failures
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)] * random.uniform(0.8, 1.2)  # noqa: S311 — jitter
            log.error("a child process ended unexpectedly", child=self.name, code=code, restart_in=round(pause, 1))
            await asyncio.sleep(pause)
            failures += 1
            try:
                await (start or self.start)()
                log.info("a child process runs again", child=self.name)
            except NetvpsError as error:
                log.warning("a child process does not start", child=self.name, error=str(error))

    async def _end(self) -> int | None:
        """The exit code, after it ended or was killed for hanging."""
        if self._process is None:
            return None
        async with Tasks() as tasks:
            tasks.start(self._watch(), name=f"watchdog of {self.name}")
            return await self._process.wait()

    async def _watch(self) -> None:
        """Kills the child when it hangs. Returns when it ends."""
        dog = self._watchdog
        try:
            while self._signs is not None:
                self._hangs = not await self._signs.beaten(dog.silent)
                if not self._hangs:
                    continue
                log.warning("a child process hangs", child=self.name, silent=dog.silent, killed_in=dog.grace)
                if not await self._signs.beaten(dog.grace):
                    await self._kill()
                    return
                self._hangs = False
                log.info("a child process responds again", child=self.name)
        except EOFError:
            return

    async def _kill(self) -> None:
        assert self._process is not None  # noqa: S101 — watched
        log.error("killing a hanging child process, its stacks are in the log", child=self.name)
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)  # dumps its stacks, unless it is suspended
            await asyncio.sleep(_LAST_WORDS)
            self._process.kill()

    async def stop(self) -> None:
        """Stops the child: gracefully, then immediately, then by SIGKILL (at once if it hangs). Idempotent."""
        self.serving.clear()
        process = self._process
        if process is None:
            return
        stages = ((signal.SIGTERM, self._stop_seconds), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
        for number, seconds in stages[2:] if self._hangs else stages:
            if process.returncode is not None:
                break
            with suppress(ProcessLookupError):
                process.send_signal(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await process.wait()
        if self._signs is not None:
            self._signs.close()

    async def end_within(self, seconds: float) -> None:
        """Waits for an end that was already requested, then forces it. May be called after `stop`."""
        if self._process is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._process.wait()
        self._hangs = True
        await self.stop()

    def hurry(self) -> None:
        """Passes on the request to stop immediately."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
