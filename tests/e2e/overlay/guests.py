"""Runners without a machine, one process for all of them: they join, say where they are, and are silent again.

For others they are peers like any. A line of JSON on standard input for each visit: `name`, `address`, `mtu`, and for
the first a `token`; when it was made, a line with the runner's name as the server has it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.domain.runner.runner import Capacity, Heartbeat, RunnerHello, Underlay
from netvps.errors import AlreadyExists, NetvpsError, NotFound, Unauthenticated
from netvps.rpc.client.link_client import Joined, RunnerLink, join

_TOO_SMALL = Capacity(cpus=1, memory_bytes=1)
"""For any session that asks for memory: none is placed there."""
_AGAIN = 0.2


@dataclass
class Guests:
    """Those that have joined, by the name that they asked for."""

    server: str

    def __post_init__(self) -> None:
        self._joined: dict[str, tuple[str, Joined]] = {}

    async def visit(self, name: str, address: str, mtu: int, token: str = "") -> str:
        """Tried until the server answers; what it refuses is the end of it: the runner was removed meanwhile."""
        while True:
            try:
                if token and name not in self._joined:
                    key = new_key()
                    self._joined[name] = key, await join(self.server, token, signing_request(key), name)
                await self._say_hello(name, Underlay((address,), mtu))
                return self._joined[name][1].runner
            except (NotFound, Unauthenticated) as error:
                return f"refused: {error}"
            except (NetvpsError, AlreadyExists):
                await asyncio.sleep(_AGAIN)

    async def _say_hello(self, name: str, underlay: Underlay) -> None:
        key, joined = self._joined[name]
        hello = RunnerHello(name, "guest", _TOO_SMALL, underlay=underlay)
        async with (
            RunnerLink(joined.link_address, joined.ca_certificate, joined.certificate, key) as link,
            aclosing(link.connect(hello, _silence())) as messages,  # type: ignore[type-var]
        ):
            await anext(messages)


async def _silence() -> AsyncIterator[Heartbeat]:
    await asyncio.Event().wait()
    yield  # type: ignore[misc]  # it never gets here


async def _serve(server: str) -> None:
    guests = Guests(server)
    while line := await asyncio.to_thread(sys.stdin.readline):
        said: dict[str, Any] = json.loads(line)
        sys.stdout.write(f"{await guests.visit(**said)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
