"""Streams: in order, held back by a slow reader, ended at any time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import aclosing

import pytest

from netvps.adapters.docker.stream import iterate


class Numbers:
    def __init__(self, items: Iterable[int]) -> None:
        self.items = iter(items)
        self.read = 0
        self.closed = False

    def __iter__(self) -> Iterator[int]:
        for item in self.items:
            self.read += 1
            yield item

    def close(self) -> None:
        self.closed = True


async def test_all_items_in_order() -> None:
    assert [item async for item in iterate(lambda: Numbers(range(100)), "test")] == list(range(100))


async def test_a_reader_that_stops_ends_it_and_was_never_far_behind() -> None:
    numbers = Numbers(itertools.count())
    async with aclosing(iterate(lambda: numbers, "test")) as items:
        assert await anext(items) == 0
    assert numbers.closed
    assert numbers.read < 20


async def test_an_error_of_the_library_comes_out() -> None:
    def refuse() -> Numbers:
        raise ConnectionRefusedError("no engine")

    with pytest.raises(ConnectionRefusedError):
        _ = [item async for item in iterate(refuse, "test")]
