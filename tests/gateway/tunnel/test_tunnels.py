"""Agents that come, go, are replaced, answer late, or lie; and connections through them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import asyncssh
import pytest
import structlog

from netvps.domain.tunnel import (
    AgentHello,
    ConfigApplied,
    Data,
    DialTarget,
    Frame,
    FromAgent,
    Reset,
    SshTarget,
    TcpTarget,
    ToAgent,
)
from netvps.errors import Exhausted, InvalidInput, NotFound, Unavailable, WrongState
from netvps.gateway.tunnel.agents import COMMAND
from netvps.gateway.tunnel.tunnels import Tunnels
from tests.gateway.conftest import UID, FakeDoorman
from tests.gateway.fake_agent import FakeAgent, until_none
from tests.gateway.fake_reports import FakeReports
from tests.support.patience import PATIENCE


@pytest.fixture
def authorizer() -> FakeDoorman:
    return FakeDoorman(asyncssh.generate_private_key("ssh-ed25519"))


@pytest.fixture
async def gateway(authorizer: FakeDoorman) -> AsyncIterator[Tunnels]:
    async with Tunnels(authorizer, FakeReports()) as made:
        yield made


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.write(b"end")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def talk(gateway: Tunnels) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    stream = await gateway.open(UID, SshTarget(), "alice@test")
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    stream.start(protocol)
    return reader, asyncio.StreamWriter(stream, protocol, reader, asyncio.get_running_loop())


async def nothing() -> AsyncGenerator[Frame, None]:
    await asyncio.sleep(3600)
    yield Data(b"")


async def test_a_connection_with_half_close(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo) as agent:
        reader, writer = await talk(gateway)
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"helloend"
        assert agent.requests[0].origin == "alice@test"
        writer.close()


async def test_ten_megabytes_there_and_back(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo):
        reader, writer = await talk(gateway)

        async def send() -> None:
            for _ in range(160):
                writer.write(b"x" * 65536)
                await writer.drain()
            writer.write_eof()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            answer = await reader.read()
        assert len(answer) == 160 * 65536 + 3
        writer.close()


async def test_a_slow_connection_stalls_no_other(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo):
        _, slow = await talk(gateway)
        slow.write(b"x" * (8 << 20))  # and what comes back is not read
        reader, writer = await talk(gateway)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b"end"
        for one in (slow, writer):
            one.close()


async def test_open_waits_for_an_agent_that_is_about_to_come(gateway: Tunnels, echo: int) -> None:
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(talk(gateway))
        await asyncio.sleep(0.01)
        async with FakeAgent(gateway, UID, echo):
            reader, writer = await opening
            writer.write_eof()
            assert await reader.read() == b"end"
            writer.close()


async def test_an_agent_gets_its_config_before_any_dial(gateway: Tunnels, authorizer: FakeDoorman, echo: int) -> None:
    """Without one it has no host certificate, and turns away the gateway itself."""
    authorizer.ready.clear()
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(talk(gateway))
        agent = FakeAgent(gateway, UID, echo)
        entering = group.create_task(agent.__aenter__())
        await agent.until(lambda: gateway.controls == 1)
        for _ in range(20):
            await asyncio.sleep(0)  # all that can happen, does
        assert agent.requests == []
        authorizer.ready.set()
        await entering
        _, writer = await opening
        assert [len(agent.configs), len(agent.requests)] == [1, 1]
        writer.close()
        await agent.__aexit__()


async def test_open_does_not_wait_without_end(gateway: Tunnels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.tunnels.CONNECT_TIMEOUT", 0.01)
    with pytest.raises(Unavailable, match="agent is not connected"):
        await gateway.open(UID, SshTarget(), "")


async def test_a_mute_agent_is_given_up(gateway: Tunnels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.agents.DIAL_TIMEOUT", 0.05)
    async with FakeAgent(gateway, UID, 1) as agent:
        agent.mute = True
        with pytest.raises(Unavailable, match="did not answer"):
            await gateway.open(UID, SshTarget(), "")
        late = gateway.dial_back(UID, agent.requests[0].dial_id, nothing())
        assert isinstance(await anext(late), Reset)
        await late.aclose()


async def test_the_agents_reason_arrives(gateway: Tunnels) -> None:
    async with FakeAgent(gateway, UID, 1):
        with pytest.raises(
            Unavailable, match=r"the session could not connect: .*(Connect call failed|Connection refused)"
        ):
            await gateway.open(UID, TcpTarget("127.0.0.1:1"), "")


async def test_an_id_is_good_once_and_for_its_session_only(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo) as agent, FakeAgent(gateway, "other", echo):
        agent.mute = True
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(gateway.open(UID, SshTarget(), ""))
            await agent.until(lambda: bool(agent.requests))
            dial_id = agent.requests[0].dial_id
            async with aclosing(gateway.dial_back("other", dial_id, nothing())) as foreign:
                assert isinstance(await anext(foreign), Reset)
            mine = gateway.dial_back(UID, dial_id, nothing())
            first = group.create_task(anext(mine))
            stream = await opening
            async with aclosing(gateway.dial_back(UID, dial_id, nothing())) as again:
                assert isinstance(await anext(again), Reset)
            stream.abort()
            assert isinstance(await first, Reset)
            await mine.aclose()


async def test_pending_dials_are_limited(gateway: Tunnels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.agents.MAX_PENDING", 2)
    async with FakeAgent(gateway, UID, 1) as agent:
        agent.mute = True
        waiting = [asyncio.get_running_loop().create_task(gateway.open(UID, SshTarget(), "")) for _ in range(2)]
        await agent.until(lambda: len(agent.requests) == 2)
        with pytest.raises(Exhausted):
            await gateway.open(UID, SshTarget(), "")
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_newer_stream_of_the_same_agent_takes_over(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo) as old:
        reader, writer = await talk(gateway)
        async with FakeAgent(gateway, UID, echo) as new:
            await asyncio.wait_for(old.control, PATIENCE)  # ended, and took only its own entry with it
            other_reader, other = await talk(gateway)
            assert len(new.requests) == 1
            for one in (writer, other):
                one.write_eof()
            assert await reader.read() == b"end"
            assert await other_reader.read() == b"end"
            for one in (writer, other):
                one.close()


async def test_a_dial_outlives_the_stream_it_was_asked_on(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo) as old:
        old.mute = True
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(talk(gateway))
            await old.until(lambda: bool(old.requests))
            async with FakeAgent(gateway, UID, echo):
                _, writer = await opening
                writer.close()


async def test_a_newer_epoch_ends_an_older_one(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo) as old:
        reader, writer = await talk(gateway)
        async with FakeAgent(gateway, UID, echo, epoch=2):
            await asyncio.wait_for(old.control, PATIENCE)
            with pytest.raises(ConnectionError, match="the session was moved"):
                await reader.read()
            writer.close()
            stale = gateway.control(AgentHello(UID, 1, "", ""), until_none(asyncio.Queue()))
            with pytest.raises(WrongState, match="epoch 2 is connected, this is 1"):
                await anext(stale)


async def test_configs_come_at_once_and_at_each_change(gateway: Tunnels, authorizer: FakeDoorman) -> None:
    received: list[str] = []
    gateway.on_config(received.append)
    async with FakeAgent(gateway, UID, 1) as agent:
        authorizer.change()
        await agent.until(lambda: len(agent.configs) == 2)
    assert [config.generation for config in agent.configs] == [1, 2]
    assert received == [UID, UID]


async def test_control_ends_with_the_epoch(gateway: Tunnels, authorizer: FakeDoorman) -> None:
    control = gateway.control(AgentHello(UID, 1, "", ""), until_none(asyncio.Queue()))
    await anext(control)
    authorizer.over = True
    authorizer.change()
    with pytest.raises(NotFound, match="not in epoch 1 any more"):
        await anext(control)


async def test_an_agent_that_leaves_is_forgotten(gateway: Tunnels) -> None:
    async with FakeAgent(gateway, UID, 1) as agent:
        await agent.say.put(None)
        await asyncio.wait_for(agent.control, PATIENCE)
        assert gateway._agents == {}


async def test_drain_asks_agents_to_leave_and_takes_no_new_ones(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo) as agent:
        reader, writer = await talk(gateway)
        gateway.drain()
        await asyncio.wait_for(agent.drained.wait(), PATIENCE)
        writer.write_eof()
        assert await reader.read() == b"end"
        writer.close()
        with pytest.raises(Unavailable, match="about to stop"):
            await anext(gateway.control(AgentHello("other", 1, "", ""), until_none(asyncio.Queue())))


async def test_a_tunnel_that_breaks_breaks_its_connection(gateway: Tunnels, echo: int) -> None:
    async with FakeAgent(gateway, UID, echo):
        reader, writer = await talk(gateway)
    with pytest.raises(ConnectionError, match="broke"):
        await reader.read()
    writer.close()


def agent_messages(messages: list[FromAgent], taken: list[FromAgent]) -> AsyncIterator[FromAgent]:
    """Gives messages as fast as they are taken; then the converter refuses one."""

    async def given() -> AsyncIterator[FromAgent]:
        for message in messages:
            taken.append(message)
            yield message
        raise InvalidInput.of("message", "it is none")

    return given()


async def test_a_message_that_is_none_ends_the_control_stream_with_its_error(gateway: Tunnels) -> None:
    async def received() -> list[ToAgent]:
        async with aclosing(
            gateway.control(AgentHello(UID, 1, "1", "ssh-ed25519 AAAA"), agent_messages([], []))
        ) as all_:
            return [message async for message in all_]

    with structlog.testing.capture_logs() as logs, pytest.raises(InvalidInput, match="message: it is none"):
        await received()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


async def test_a_flood_of_control_messages_stalls_only_its_own_stream(
    gateway: Tunnels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.tunnels.MESSAGES_AT_ONCE", 20)
    taken: list[FromAgent] = []
    flood = agent_messages([ConfigApplied(number) for number in range(1000)], taken)
    async with aclosing(gateway.control(AgentHello(UID, 1, "1", "ssh-ed25519 AAAA"), flood)) as messages:
        await anext(messages)
        await asyncio.sleep(0.5)
    assert 20 <= len(taken) <= 60


async def test_a_frame_that_is_none_resets_its_connection(gateway: Tunnels, echo: int) -> None:
    async def damaged() -> AsyncGenerator[Frame, None]:
        yield Data(b"")
        raise InvalidInput.of("data", "too much")

    async with FakeAgent(gateway, UID, echo):
        agent = gateway._agents[UID]
        dial = asyncio.create_task(agent.dial(SshTarget(), "alice@test"))
        await asyncio.sleep(0)
        (dial_id,) = agent._dials
        with structlog.testing.capture_logs() as logs:
            async with aclosing(gateway.dial_back(UID, dial_id, damaged())) as frames:
                assert [frame async for frame in frames] == [Reset("data: too much")]
        (await dial).abort()
    assert not [entry for entry in logs if entry["log_level"] == "error"]


class _Other:
    """Another server, without a network in between."""

    def __init__(self, tunnels: Tunnels) -> None:
        self.tunnels = tunnels
        self.asked = asyncio.Event()

    async def dial(
        self, session_uid: str, target: DialTarget, origin: str, outgoing: AsyncIterator[Frame]
    ) -> AsyncGenerator[Frame, None] | None:
        self.asked.set()
        if not self.tunnels.has(session_uid):
            return None
        return await self.tunnels.relay(session_uid, target, origin, outgoing)


async def test_an_agent_of_another_server_is_dialled_there_also_if_it_comes_later(
    gateway: Tunnels, authorizer: FakeDoorman, echo: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.tunnels.ASK_AGAIN", 0.01)
    async with Tunnels(authorizer, FakeReports()) as other, asyncio.timeout(PATIENCE):
        gateway.elsewhere = elsewhere = _Other(other)
        opening = asyncio.ensure_future(gateway.open(UID, SshTarget(), f"alice{COMMAND}"))
        await elsewhere.asked.wait()
        async with FakeAgent(other, UID, echo) as agent:
            stream = await opening
            assert agent.requests[0].origin == f"alice{COMMAND}"
            assert other.relayed_commands(UID) == 1
            reader = asyncio.StreamReader()
            stream.start(protocol := asyncio.StreamReaderProtocol(reader))
            writer = asyncio.StreamWriter(stream, protocol, reader, asyncio.get_running_loop())
            writer.write(b"x" * 1_000_000)
            writer.write_eof()
            assert await reader.read() == b"x" * 1_000_000 + b"end"
            writer.close()
            await agent.until(lambda: not other.relayed_commands(UID))
            assert not other.dial_backs


async def test_what_another_server_asks_for_is_looked_for_here_only(gateway: Tunnels) -> None:
    gateway.elsewhere = elsewhere = _Other(gateway)
    with pytest.raises(Unavailable, match="not connected to this server any more"):
        await gateway.relay(UID, SshTarget(), "alice@test", nothing())
    assert not elsewhere.asked.is_set()


async def test_a_connection_through_another_server_breaks_with_either_end(
    gateway: Tunnels, authorizer: FakeDoorman, echo: int
) -> None:
    async with Tunnels(authorizer, FakeReports()) as other, FakeAgent(other, UID, echo), asyncio.timeout(PATIENCE):
        gateway.elsewhere = _Other(other)
        reader, writer = await talk(gateway)
        writer.write(b"hello")
        assert await reader.read(5) == b"hello"
        await other.__aexit__()  # that server ends
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert writer.transport.is_closing()
