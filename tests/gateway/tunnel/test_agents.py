"""Dials whose answer comes in the very moment in which they are given up."""

from __future__ import annotations

import asyncio
import time

import pytest

from netvps.domain.tunnel import AgentHello, SshTarget
from netvps.errors import Unavailable
from netvps.gateway.tunnel import agents
from netvps.gateway.tunnel.agents import Agent
from netvps.gateway.tunnel.dial_stream import DialStream


async def test_an_answer_in_the_moment_of_the_timeout_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "DIAL_TIMEOUT", 0.05)
    agent, stream, loop = Agent(AgentHello("uid", 1, "test", "")), DialStream(), asyncio.get_running_loop()
    dial = loop.create_task(agent.dial(SshTarget(), "test"))
    await asyncio.sleep(0)
    (dial_id,) = agent._dials
    answered: list[bool] = []
    loop.call_later(0.02, time.sleep, 0.06)  # both of these are due when the loop turns again
    loop.call_later(0.04, lambda: answered.append(agent.answer(dial_id, stream)))
    with pytest.raises(Unavailable, match="did not answer within"):
        await dial
    assert answered == [True]
    assert stream.is_closing()


async def test_an_answer_in_the_moment_of_a_cancellation_is_closed() -> None:
    agent, stream = Agent(AgentHello("uid", 1, "test", "")), DialStream()
    dial = asyncio.get_running_loop().create_task(agent.dial(SshTarget(), "test"))
    await asyncio.sleep(0)
    (dial_id,) = agent._dials
    assert agent.answer(dial_id, stream)
    dial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dial
    assert stream.is_closing()
