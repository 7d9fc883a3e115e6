"""Changes sessions at a rate, in a process of its own.

    python -m bench.changes SOCKET SESSIONS RATE

Prints "ready" after the first second.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from netvps.client import AsyncClient, Endpoint, SessionSpec
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.place import Place

_AT_ONCE: Final = 32


@contextlib.contextmanager
def changing(place: Place, sessions: int, rate: float) -> Iterator[None]:
    """Changes random sessions of bench-00000 … while the block runs; starts once the rate is reached."""
    command = [sys.executable, "-m", "bench.changes", place.socket, str(sessions), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=place.env) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            if said.strip() != "ready":
                raise RuntimeError(f"the changes do not start: {said}")
            yield
        finally:
            process.terminate()


async def _run(address: str, sessions: int, rate: float) -> None:
    loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)
    began, made, pending = loop.time(), 0, set[asyncio.Task[None]]()
    async with AsyncClient(Endpoint(address)) as client:

        async def change(number: int) -> None:
            try:
                name = f"bench-{random.randrange(sessions):05}"
                with contextlib.suppress(NetvpsError):  # the server stops
                    await client.update_session(name, SessionSpec(labels={"n": str(number)}), ("labels",))
            finally:
                turns.release()

        while True:
            await turns.acquire()
            task = loop.create_task(change(made))
            pending.add(task)
            task.add_done_callback(pending.discard)
            made += 1
            if made == int(rate):
                print("ready", flush=True)
            await asyncio.sleep(max(0.0, began + made / rate - loop.time()))


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
