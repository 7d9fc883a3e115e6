from __future__ import annotations

import asyncio
from contextlib import aclosing

from netvps.domain.session.exec import Stdin, TerminalSize
from netvps.gateway.web.session_input import CREDIT, SessionInput


async def test_input_leaves_in_order_and_is_reported_when_it_was_taken() -> None:
    taken: list[int] = []
    given = SessionInput(taken.append, b"early")
    assert given.feed(b"x" * 40_000)
    given.resize(TerminalSize(1, 1))
    given.resize(TerminalSize(100, 30))
    async with aclosing(given.messages()) as messages:
        assert await anext(messages) == TerminalSize(100, 30), "earlier sizes are of no use"
        first = await anext(messages)
        assert isinstance(first, Stdin)
        assert first.data.startswith(b"early")
        assert sum(taken) == len(first.data) - 5, "what was typed early was not under way"
        second = await anext(messages)
        assert isinstance(second, Stdin)
        assert len(first.data) + len(second.data) == 40_005
        waiting = asyncio.create_task(anext(messages))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(taken) == 40_000
        assert given.feed(b"more")
        assert await waiting == Stdin(b"more")


async def test_a_page_has_a_bounded_amount_under_way() -> None:
    taken: list[int] = []
    given = SessionInput(taken.append, b"early")
    assert given.feed(b"x" * CREDIT)
    assert not given.feed(b"x")
    given.drop()
    assert taken == [CREDIT]
    assert given.feed(b"x")
