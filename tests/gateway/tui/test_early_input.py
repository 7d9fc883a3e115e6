"""Input that comes while neither the app nor a session has the terminal."""

from __future__ import annotations

import asyncio

import pytest

from netvps.gateway.tui.early_input import EarlyInput
from netvps.gateway.tui.terminal import INPUT_LIMIT
from tests.rpc.site import soon
from tests.support.patience import PATIENCE


async def test_it_is_kept_up_to_a_limit_for_the_next_one() -> None:
    early = EarlyInput()
    early.feed(b"ls\n")
    assert (early.take(), early.take()) == (b"ls\n", b"")
    for _ in range(3):
        early.feed(b"x" * (INPUT_LIMIT - 1))
    assert len(early.take()) == INPUT_LIMIT


async def test_an_error_stays_until_a_key_which_is_for_nothing_else() -> None:
    early, said = EarlyInput(), list[str]()
    early.feed(b"typed before the error")
    explained = asyncio.create_task(early.explain(said.append, "it is gone"))
    await soon(lambda: said)
    assert said == ["it is gone\r\nany key leads back"]
    assert not explained.done()
    early.feed(b" ")
    await asyncio.wait_for(explained, PATIENCE)
    assert early.take() == b""


async def test_an_error_goes_by_itself_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.tui.early_input._LEAVE_SECONDS", 0.01)
    await asyncio.wait_for(EarlyInput().explain(lambda _: None, "it is gone"), 5)
