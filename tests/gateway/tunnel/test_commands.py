"""Commands for the API, through a real sshd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from netvps.domain.session.exec import (
    ExecStart,
    Exit,
    FromCommand,
    Stderr,
    Stdin,
    StdinEof,
    Stdout,
    TerminalSize,
    ToCommand,
)
from netvps.domain.session.session import DesiredState, SessionState
from netvps.errors import NotPermitted, Unavailable, WrongState
from netvps.gateway.tunnel.commands import Commands
from tests.gateway.conftest import World, a_session


async def typed(*messages: ToCommand) -> AsyncIterator[ToCommand]:
    for message in messages:
        yield message


async def ran(world: World, *argv: str, stdin: bytes | None = None, **start: object) -> list[FromCommand]:
    incoming = typed() if stdin is None else typed(Stdin(stdin), StdinEof())
    started = ExecStart("dev1", argv, **start)  # type: ignore[arg-type]
    commands = Commands(world.dialer, world.agent_login, world.authorizer)
    async with aclosing(commands.run(world.authorizer.session, started, incoming)) as output:
        return [piece async for piece in output]


async def test_output_errors_and_exit_code(world: World) -> None:
    pieces = await ran(world, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert pieces[-1] == Exit(3)
    assert set(pieces[:-1]) == {Stdout(b"out\n"), Stderr(b"err\n")}


async def test_arguments_arrive_as_they_are(world: World) -> None:
    assert await ran(world, "printf", "%s|", "a b", "$HOME", "'", "", "*") == [Stdout(b"a b|$HOME|'||*|"), Exit(0)]


async def test_the_agent_is_asked_to_use_no_shell(world: World) -> None:
    assert await ran(world, "printenv", "NETVPS_EXEC_ARGV") == [Stdout(b"1\n"), Exit(0)]


async def test_input_and_its_end(world: World) -> None:
    assert await ran(world, "cat", stdin=b"hello") == [Stdout(b"hello"), Exit(0)]


async def test_a_caller_that_sends_nothing_ends_the_input(world: World) -> None:
    assert await ran(world, "cat") == [Exit(0)]


async def test_death_by_signal(world: World) -> None:
    assert (await ran(world, "sh", "-c", "kill -KILL $$"))[-1] == Exit(137, "KILL")


async def test_a_terminal_of_that_size(world: World) -> None:
    pieces = await ran(world, "stty", "size", terminal=TerminalSize(columns=101, rows=37), term="vt100")
    assert b"".join(piece.data for piece in pieces if isinstance(piece, Stdout)) == b"37 101\r\n"
    assert pieces[-1] == Exit(0)


async def test_much_output_to_a_slow_caller(world: World) -> None:
    total = 0
    commands = Commands(world.dialer, world.agent_login, world.authorizer)
    start = ExecStart("dev1", ("head", "-c", str(20 << 20), "/dev/zero"))
    async with aclosing(commands.run(world.authorizer.session, start, typed())) as output:
        async for piece in output:
            await asyncio.sleep(0)
            if isinstance(piece, Stdout):
                total += len(piece.data)
            else:
                assert piece == Exit(0)
    assert total == 20 << 20


async def test_a_caller_that_leaves_ends_the_connection(world: World) -> None:
    commands = Commands(world.dialer, world.agent_login, world.authorizer)
    start = ExecStart("dev1", ("yes",))
    async with aclosing(commands.run(world.authorizer.session, start, typed())) as output:
        async for _ in output:
            break
    await world.agent.until(lambda: not world.agent.connections)


async def test_a_session_that_does_not_run(world: World) -> None:
    commands = Commands(world.dialer, world.agent_login, world.authorizer)
    stopped = a_session(SessionState.STOPPED)
    with pytest.raises(WrongState, match="session dev1 is STOPPED: start it with"):
        await anext(commands.run(stopped, ExecStart("dev1", ("true",)), typed()))


async def test_a_session_that_goes_away_meanwhile(world: World) -> None:
    commands = Commands(world.dialer, world.agent_login, world.authorizer)
    start = ExecStart("dev1", ("sh", "-c", "echo up; sleep 60"))
    async with aclosing(commands.run(world.authorizer.session, start, typed())) as output:
        assert await anext(output) == Stdout(b"up\n")
        for connection in world.agent.connections:
            connection.transport.abort()
        with pytest.raises(Unavailable, match="disconnected while"):
            await anext(output)


async def test_a_user_that_the_session_does_not_know(world: World) -> None:
    with pytest.raises(NotPermitted, match="lets no one in as nobody"):
        await ran(world, "true", user="nobody")


async def test_a_paused_session_is_resumed_first(world: World) -> None:
    commands = Commands(world.dialer, world.agent_login, world.authorizer)
    paused = a_session(SessionState.PAUSED)
    start = ExecStart("dev1", ("echo", "up"))
    async with aclosing(commands.run(replace(paused, desired=DesiredState.PAUSED), start, typed())) as output:
        assert [piece async for piece in output] == [Stdout(b"up\n"), Exit(0)]
    assert world.authorizer.woken == [(paused.uid, "alice")]
    world.authorizer.cannot_wake = "its runner lab1 is offline"
    with pytest.raises(Unavailable, match="its runner lab1 is offline"):
        await anext(commands.run(paused, start, typed()))
