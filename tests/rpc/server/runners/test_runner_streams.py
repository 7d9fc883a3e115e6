"""Streams that end after the server did; all else about them is tested over real ones (test_link_servicer)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from netvps.errors import Unavailable
from netvps.rpc.server.runners.runner_streams import RunnerStreams
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from netvps.services.runners.runners import Runners


class NoRunners:
    """A server that ends marks no runner offline."""

    def __init__(self) -> None:
        self.offline_calls = 0

    async def offline(self, uid: str) -> None:
        self.offline_calls += 1

    async def call_roll(self) -> None:
        return

    async def stale(self) -> None:
        return


async def test_a_stream_that_ends_after_the_server_is_neither_error_nor_change() -> None:
    runners = NoRunners()
    async with RunnerStreams(cast("Runners", runners), 0.001) as streams:
        stream = await streams.enter("r1", "i1")
        assert len(streams) == 1
    streams.leave(stream)
    assert len(streams) == 0
    assert runners.offline_calls == 0


class Stubborn(NoRunners):
    """A store that takes nothing at first: it is locked, and then there is a bug."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = [Unavailable("the database is locked"), ValueError("a bug")]
        self.marked = asyncio.Event()

    async def offline(self, uid: str) -> None:
        await super().offline(uid)
        if self.errors:
            raise self.errors.pop(0)
        self.marked.set()


async def test_a_runner_that_is_gone_is_marked_offline_however_long_the_store_refuses() -> None:
    runners = Stubborn()
    async with RunnerStreams(cast("Runners", runners), 0.001) as streams, asyncio.timeout(PATIENCE):
        streams.leave(await streams.enter("r1", "i1"))
        await runners.marked.wait()
    assert runners.offline_calls == 3
