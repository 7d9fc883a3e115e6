"""Runs programs beside a gateway, in the same event loop."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    """How a program ended."""

    code: int
    out: bytes
    err: bytes


async def run(argv: list[str], stdin: bytes = b"", *, timeout: float = 60) -> Ran:
    """Runs a program to its end."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        raise
    return Ran(process.returncode if process.returncode is not None else -1, out, err)
