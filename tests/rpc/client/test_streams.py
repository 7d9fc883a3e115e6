from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.rpc.client.streams import closing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_a_generator_is_closed_at_the_end_of_the_block_however_it_ends() -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    async def take_one() -> None:
        async with closing(numbers()) as found:
            assert await anext(found) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await take_one()
    assert closed == [True]


async def test_what_cannot_be_closed_is_left() -> None:
    class Idempotency:
        def __aiter__(self) -> Idempotency:
            return self

        async def __anext__(self) -> int:
            return 1

    async with closing(Idempotency()) as found:
        assert await anext(found) == 1
