"""What agents report and ask for, and what they get."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncssh
import pytest

from netvps.domain.tunnel import Activity, SelfService, SelfServiceAnswer, SelfServiceKind, SleepNotice
from netvps.gateway.tunnel.agents import Agent
from netvps.gateway.tunnel.tunnels import MAX_ASKED, Tunnels
from tests.gateway.conftest import UID, FakeDoorman
from tests.gateway.fake_agent import FakeAgent
from tests.gateway.fake_reports import FakeReports


@pytest.fixture
def reports() -> FakeReports:
    return FakeReports()


@pytest.fixture
async def gateway(reports: FakeReports) -> AsyncIterator[Tunnels]:
    async with Tunnels(FakeDoorman(asyncssh.generate_private_key("ssh-ed25519")), reports) as made:
        yield made


async def test_reports_are_passed_on_while_the_agent_is_connected(gateway: Tunnels, reports: FakeReports) -> None:
    seen = Activity(1, 0, None, cpus=0.5)
    async with FakeAgent(gateway, UID, 1) as agent:
        await agent.say.put(seen)
        await agent.until(lambda: reports.activity == [seen])
        assert reports.connections == [(UID, True)]
    assert reports.connections == [(UID, True), (UID, False)]


async def test_a_stream_that_was_replaced_reports_nothing_and_ends_nothing(
    gateway: Tunnels, reports: FakeReports
) -> None:
    async with FakeAgent(gateway, UID, 1) as old:
        async with FakeAgent(gateway, UID, 1) as new:
            await new.until(old.control.done)
            assert (UID, False) not in reports.connections
        assert reports.connections[-1] == (UID, False)


async def test_what_is_asked_for_is_answered_with_its_id(gateway: Tunnels) -> None:
    async with FakeAgent(gateway, UID, 1) as agent:
        await agent.say.put(SelfService("1", SelfServiceKind.STATUS))
        await agent.say.put(SelfService("2", SelfServiceKind.SLEEP))
        await agent.until(lambda: len(agent.answers) == 2)
        assert agent.answers == [
            SelfServiceAnswer("1", f"STATUS of {UID}/1"),
            SelfServiceAnswer("2", "it is moving", failed=True),
        ]


async def test_an_agent_that_asks_for_too_much_at_once_is_refused(gateway: Tunnels, reports: FakeReports) -> None:
    reports.ready.clear()
    async with FakeAgent(gateway, UID, 1) as agent:
        for number in range(MAX_ASKED + 1):
            await agent.say.put(SelfService(str(number), SelfServiceKind.STATUS))
        await agent.until(lambda: bool(agent.answers))
        assert agent.answers[0] == SelfServiceAnswer(
            str(MAX_ASKED), "too many requests at once: try again", failed=True
        )
        reports.ready.set()
        await agent.until(lambda: len(agent.answers) == MAX_ASKED + 1)
        assert not any(answer.failed for answer in agent.answers[1:])


async def test_notices_reach_the_agent_that_is_connected(gateway: Tunnels) -> None:
    notice = SleepNotice("It stops soon.", "now")
    assert not gateway.inform(UID, notice)
    async with FakeAgent(gateway, UID, 1) as agent:
        assert gateway.inform(UID, notice)
        await agent.until(lambda: agent.notices == [notice])


async def test_a_newer_notice_takes_the_place_of_one_that_waits_but_loses_no_warning() -> None:
    async with Tunnels(FakeDoorman(asyncssh.generate_private_key("ssh-ed25519")), FakeReports()) as gateway:
        agent = Agent(FakeAgent(gateway, UID, 1).hello)
        agent.inform(SleepNotice("one", "soon"))
        agent.inform(SleepNotice("two"))
        messages = agent.messages()
        assert await anext(messages) == SleepNotice("two", "soon")
        await messages.aclose()
