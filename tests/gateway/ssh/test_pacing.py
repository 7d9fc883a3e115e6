"""Turns of the event loop, with a stand-in for asyncssh whose packets are one byte each."""

from __future__ import annotations

import asyncio

import pytest

from netvps.gateway.ssh import pacing as ssh_pacing
from netvps.gateway.ssh.pacing import TURN_BYTES, TURN_PACKETS, Paced


class Transport:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


class Asyncssh:
    """The part of a connection that Paced stands on."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Transport | None = Transport()
        self._inpbuf = b""
        self.turn = 0
        self.handled: list[int] = []
        self.packet_size = 1

    def data_received(self, data: bytes, datatype: None = None) -> None:
        self._inpbuf += data
        self._recv_data()

    def _recv_data(self) -> None:
        while self._inpbuf and self._recv_packet():
            pass

    def _recv_packet(self) -> bool:
        if len(self._inpbuf) < self.packet_size:
            return False
        self._inpbuf = self._inpbuf[self.packet_size :]
        self.handled.append(self.turn)
        return True

    def _cleanup(self, exc: Exception | None) -> None:
        self._transport = None


class Connection(Paced, Asyncssh):  # type: ignore[misc] # for mypy, Paced stands on the real one
    pass


async def run_turns(connection: Connection, count: int) -> None:
    for _ in range(count):
        connection.turn += 1
        await asyncio.sleep(0)


async def test_a_turn_handles_so_many_packets_and_reading_waits_for_the_rest() -> None:
    connection = Connection()
    connection.data_received(b"x" * (TURN_PACKETS * 3 + 1))
    assert len(connection.handled) == TURN_PACKETS
    assert connection._transport.calls == ["pause"]  # type: ignore[union-attr]
    await run_turns(connection, 3)
    assert [connection.handled.count(turn) for turn in range(4)] == [TURN_PACKETS] * 3 + [1]
    assert connection._transport.calls == ["pause", "resume"]  # type: ignore[union-attr]


async def test_pieces_of_one_turn_share_its_budget() -> None:
    connection = Connection()
    for _ in range(TURN_PACKETS * 2):
        connection.data_received(b"x")
    assert len(connection.handled) == TURN_PACKETS


async def test_a_turn_takes_so_many_bytes() -> None:
    connection = Connection()
    connection.packet_size = TURN_BYTES // 4
    connection.data_received(b"x" * (TURN_BYTES * 2 + 1))
    assert len(connection.handled) == 4
    await run_turns(connection, 1)
    assert len(connection.handled) == 8


async def test_what_a_task_goes_on_with_counts_for_the_turn() -> None:
    connection = Connection()
    connection._inpbuf = b"x" * (TURN_PACKETS + 1)
    await run_turns(connection, 1)
    connection._recv_data()
    assert len(connection.handled) == TURN_PACKETS
    await run_turns(connection, 1)
    assert len(connection.handled) == TURN_PACKETS + 1


async def test_nothing_is_handled_after_the_end() -> None:
    connection = Connection()
    connection.data_received(b"x" * (TURN_PACKETS * 3))
    connection._cleanup(None)
    await run_turns(connection, 5)
    assert len(connection.handled) == TURN_PACKETS


async def test_two_connections_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_pacing, "TURN_PACKETS", 2)
    greedy, modest = Connection(), Connection()
    greedy._packets_left = 2
    greedy.data_received(b"x" * 100)
    modest.data_received(b"x" * 3)
    await run_turns(greedy, 2)
    assert len(modest.handled) == 3
    assert len(greedy.handled) <= 6
