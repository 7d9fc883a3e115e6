"""`python -m bench.bare SOCKET`: a gRPC server that does nothing: the cost of the same bytes without netvps."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

CALL: Final = "/bare/Call"
"""Takes a decimal number, returns that many bytes."""
TELL: Final = "/bare/Tell"
"""Takes bytes and publishes them to all watchers."""
WATCH: Final = "/bare/Watch"
"""Takes nothing, returns an empty message at once, then whatever is published."""


class Bare:
    """The RPC methods."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Queue[bytes]] = set()

    async def call(self, request: bytes, _context: object) -> bytes:
        return bytes(int(request))

    async def tell(self, request: bytes, _context: object) -> bytes:
        for watcher in self._watchers:
            watcher.put_nowait(request)
        return request

    async def watch(self, _request: bytes, _context: object) -> AsyncIterator[bytes]:
        events: asyncio.Queue[bytes] = asyncio.Queue(64)
        self._watchers.add(events)
        try:
            yield b""
            while True:
                yield await events.get()
        finally:
            self._watchers.discard(events)


async def serve(socket: str) -> None:
    """Serves until it is killed."""
    bare: Any = Bare()
    server = grpc.aio.server()
    handlers = {
        "Call": grpc.unary_unary_rpc_method_handler(bare.call),
        "Tell": grpc.unary_unary_rpc_method_handler(bare.tell),
        "Watch": grpc.unary_stream_rpc_method_handler(bare.watch),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", handlers),))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    await server.wait_for_termination()


@contextlib.contextmanager
def bare_server(socket: Path) -> Iterator[tuple[str, int]]:
    """Runs the server; provides its gRPC address and process id."""
    process = subprocess.Popen([sys.executable, "-m", "bench.bare", str(socket)])
    try:
        deadline = time.monotonic() + 60
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the bare gRPC server does not start")
            time.sleep(0.05)
        yield f"unix:{socket}", process.pid
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(sys.argv[1]))
