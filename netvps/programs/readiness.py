"""A program tells the one that started it, over a pipe, that it is ready, or why it never will be."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a start ended: `error` is empty if the program is ready; `code` is the exit code otherwise."""

    error: str = ""
    code: int = 0


class Readiness:
    """The writing end; without a descriptor (nobody waits) it does nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        """Says that the program serves."""
        self._tell(Outcome())

    def failed(self, error: str, code: int) -> None:
        """Says that it ends with this error and exit code."""
        self._tell(Outcome(error, code))

    def _tell(self, outcome: Outcome) -> None:
        """Once: later news is for the log."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            os.write(descriptor, json.dumps({"error": outcome.error, "code": outcome.code}).encode() + b"\n")
        except BrokenPipeError:
            pass  # who waited is gone
        finally:
            os.close(descriptor)


async def await_outcome(descriptor: int) -> Outcome | None:
    """Reads the other end until the program spoke; None if it died without a word. Closes the descriptor."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        line = await reader.readline()
    finally:
        transport.close()
    if not line.endswith(b"\n"):
        return None
    told = json.loads(line)
    return Outcome(told["error"], told["code"])
