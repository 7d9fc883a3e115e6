"""What of docker-py is used beside its documented methods, and that slow calls of one kind wait for no other."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import threading
from typing import Any

import docker
import pytest
from docker.api.client import APIClient
from docker.types import CancellableStream

from netvps.adapters.docker.client import Docker, Work
from tests.support.patience import PATIENCE

DIGESTS = {
    "APIClient._post": "ebeca1c1d86f96d7",
    "APIClient._url": "edb117b6816feaaa",
    "APIClient._raise_for_status": "6d2e94d0b849e93a",
    "APIClient._stream_helper": "60b494fcd4f3427b",
    "CancellableStream.__init__": "3c15981134ecd13d",
    "CancellableStream.close": "562715603f888414",
}


def test_the_pin() -> None:
    assert docker.__version__ == "7.2.0"


@pytest.mark.parametrize("name", DIGESTS)
def test_the_inside_is_as_it_was_read(name: str) -> None:
    classes = {kind.__name__: kind for kind in (APIClient, CancellableStream)}
    owner, _, attribute = name.partition(".")
    method: Any = inspect.unwrap(vars(classes[owner])[attribute])
    found = hashlib.sha256(inspect.getsource(method).encode()).hexdigest()[:16]
    assert found == DIGESTS[name], f"{name} changed: read it, then see whether images.py and stream.py still hold"


@pytest.mark.docker
async def test_a_closed_connection_in_the_pool_is_got_over() -> None:
    """As a stream leaves it that is cancelled while it ends."""
    docker = await Docker.open()
    try:
        await docker.call("the engine", lambda api: api.version())
        pool: Any = next(iter(docker.api.get_adapter(docker.api.base_url).pools._container.values()))
        kept = [connection for connection in pool.pool.queue if connection and connection.sock]
        assert kept
        for connection in kept:
            connection.sock.close()
        assert "Version" in await docker.call("the engine", lambda api: api.version())
    finally:
        docker.close()


class Engine(Docker):
    """An engine of which each call does what the test says."""

    @property
    def api(self) -> Any:
        return None

    @property
    def slow_api(self) -> Any:
        return None


async def test_a_mass_of_snapshots_keeps_nothing_else_waiting() -> None:
    engine, gate = Engine("unix:///nowhere"), threading.Event()
    commits = [
        asyncio.create_task(engine.call_slowly("c", lambda _: gate.wait(20), work=Work.COMMIT)) for _ in range(100)
    ]
    try:
        async with asyncio.timeout(PATIENCE):
            assert await engine.call("short", lambda _: 1) == 1
            assert await engine.call_slowly("removal", lambda _: 2, work=Work.REMOVAL) == 2
            assert await engine.call_slowly("transfer", lambda _: 3) == 3
            assert await engine.call_idly("idle", lambda _: 4) == 4
        assert not any(commit.done() for commit in commits)
    finally:
        gate.set()
    assert await asyncio.gather(*commits) == [True] * 100
