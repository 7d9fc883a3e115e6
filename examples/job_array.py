"""An array, as Slurm has: one command in COUNT sessions, each with another ARRAY_INDEX.

    python3 examples/job_array.py 8 -- sh -c 'echo "part $ARRAY_INDEX of 8"'

All sessions are created in one call, or none. Prints the output of each part in the order of the index.
"""

from __future__ import annotations

import asyncio
import secrets
import sys

from server import endpoint

from netvps.client import AsyncClient, ExecStart, Exit, NewSession, SessionSpec, SessionState, StdinEof, Stdout


async def run_part(client: AsyncClient, name: str, command: list[str]) -> tuple[int, bytes]:
    """Runs the command once its session runs; returns its exit code and what it wrote to stdout."""

    async def no_input():  # noqa: ANN202 — an async generator
        yield StdinEof()

    await client.wait(name, SessionState.RUNNING, timeout=300)
    printed, code = b"", -1
    async for message in client.exec(ExecStart(name, tuple(command)), no_input()):
        match message:
            case Stdout(data):
                printed += data
            case Exit(code):
                pass
    return code, printed


async def main(count: int, command: list[str]) -> int:
    """Runs the parts; the exit code is the number of those that failed."""
    array = f"array-{secrets.token_hex(3)}"
    parts = [
        NewSession(f"{array}-{index}", SessionSpec(env={"ARRAY_INDEX": str(index)}, labels={"array": array}))
        for index in range(1, count + 1)
    ]
    async with AsyncClient(endpoint()) as client:
        await client.create_many(parts)
        try:
            results = await asyncio.gather(*(run_part(client, part.session_id, command) for part in parts))
        finally:
            async for session in client.list_sessions("", f"labels.array={array}"):
                await client.delete_session(session.name)
    print(*(printed.decode(errors="replace") for _, printed in results), sep="", end="")
    return sum(code != 0 for code, _ in results)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[3:])))
