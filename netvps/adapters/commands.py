"""Programs of the system that are run for a moment: bounded in time, off the event loop, and never through a shell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from netvps.errors import ConfigError, TimedOut

_SECONDS = 30.0
"""A hundred thousand addresses take nft one; the rest is for a busy machine."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said; its exit code is 0 if all went well."""

    code: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """The first line of what it complains about."""
        return next(iter(self.err.strip().splitlines()), f"exit code {self.code}")


async def run(*command: str, stdin: str = "", seconds: float = _SECONDS) -> Answer:
    """Its answer, whatever it is. Raises ConfigError if there is no such program, TimedOut after `seconds`."""
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
        raise TimedOut(f"{command[0]} did not end in {seconds:.0f} s; see whether the machine is overloaded") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return Answer(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))


@contextmanager
def _file(content: str) -> Iterator[int]:
    """In memory, and not a pipe: to write into one of a program that ended without reading is an error of uvloop's."""
    with open(os.memfd_create("stdin"), "r+b") as file:  # noqa: PTH123 — it has no path
        file.write(content.encode())
        file.seek(0)
        yield file.fileno()
