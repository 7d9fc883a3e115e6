"""Runs short-lived system programs: with a timeout, off the event loop, never through a shell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from netvps.errors import ConfigError, TimedOut

_SECONDS = 30.0
"""nft needs 1 s for a hundred thousand addresses; the rest is reserve for a busy machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A program's exit code and output."""

    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """The first line of its error output, or the exit code."""
        return next(iter(self.err.strip().splitlines()), f"exit code {self.code}")


async def run(*command: str, stdin: str = "", seconds: float = _SECONDS) -> Answer:
    """Runs a program, whatever its exit code. Raises ConfigError if it does not exist, TimedOut after `seconds`."""
    try:
        with _file(stdin) as file:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=file,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | {"LC_ALL": "C"},
            )
    except OSError as error:
        raise ConfigError(f"cannot run {command[0]}: {error.strerror}; is it installed?", reason="NO_PROGRAM") from None
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate()
    except TimeoutError:
        raise TimedOut(f"{command[0]} did not end in {seconds:.0f} s; check the machine's load (uptime)") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return Answer(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


@contextmanager
def _file(content: str) -> Iterator[int]:
    """Provides stdin as a memfd: with a pipe, uvloop raises if the program ends without reading all of it."""
    with open(os.memfd_create("stdin"), "r+b") as file:  # noqa: PTH123 — a memfd has no path
        file.write(content.encode())
        file.seek(0)
        yield file.fileno()
