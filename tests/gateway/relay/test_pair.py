"""The gateway's view of a pair: what reaches which side, and in what order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from netvps.gateway.relay.keys import plain_packet
from netvps.gateway.relay.pair import RELAY_ENDED, RelayedPair, RelayTransport
from netvps.gateway.relay.wire import Cause, Kind, encode


class End:
    """One side, which notes what happens."""

    def __init__(self) -> None:
        self.passed = 0
        self.seen: list[Any] = []

    def relayed(self, sequence: int, payload: bytes) -> None:
        self.seen.append((sequence, payload))

    def keys_due(self) -> None:
        self.seen.append("due")

    def violated(self, cause: Cause, text: str) -> None:
        self.seen.append((cause, text))

    def eof_received(self) -> None:
        self.seen.append("eof")

    def connection_lost(self, exc: Exception | None = None) -> None:
        self.seen.append(str(exc))


class Wire(asyncio.Transport):
    """The connection to the relay."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.paused = False
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def close(self) -> None:
        self.closed = True

    abort = close


@pytest.fixture
async def pair() -> tuple[RelayedPair, Wire, End, End, RelayTransport, RelayTransport]:
    client, agent, wire = End(), End(), Wire()
    made = RelayedPair((client, agent))
    made.connection_made(wire)
    return made, wire, client, agent, RelayTransport(made, 0, {"peername": ("::1", 9)}), RelayTransport(made, 1, {})


Pair = tuple[RelayedPair, Wire, End, End, RelayTransport, RelayTransport]


async def test_each_message_reaches_its_side(pair: Pair) -> None:
    made, _, client, agent, near, _ = pair
    made.data_received(
        encode(Kind.PACKET, 0, b"\0\0\0\7\x14hi")
        + encode(Kind.DUE, 1)
        + encode(Kind.COUNTS, 0, (5).to_bytes(8, "big") + (6).to_bytes(8, "big"))
        + encode(Kind.LOST, 0, b"\3wrong")
        + encode(Kind.LOST, 1, b"\1reset")
    )
    assert client.seen == [(7, b"\x14hi"), (Cause.MAC, "wrong")]
    assert agent.seen == ["due", "reset"]
    assert (client.passed, agent.passed) == (5, 6)
    assert near.get_extra_info("peername") == ("::1", 9)


async def test_what_a_side_says_is_sent_as_its_payload(pair: Pair) -> None:
    _, wire, _, _, near, far = pair
    near.write(plain_packet(b"\x14kex"))
    near.send_with({"cipher": "c"})
    near.receive_with({"cipher": "c"})
    far.write_eof()
    assert wire.sent == (
        encode(Kind.PACKET, 0, b"\x14kex")
        + encode(Kind.SEND_KEYS, 0, b'{"cipher": "c"}')
        + encode(Kind.RECV_KEYS, 0, b'{"cipher": "c"}')
        + encode(Kind.END, 1)
    )


async def test_messages_wait_while_a_side_has_enough(pair: Pair) -> None:
    made, wire, client, agent, near, far = pair
    near.pause_reading()
    far.pause_reading()
    made.data_received(encode(Kind.PACKET, 0, bytes(4) + b"\1") + encode(Kind.LOST, 1, b"\0"))
    assert wire.paused
    near.resume_reading()
    await asyncio.sleep(0)
    assert (client.seen, agent.seen) == ([], [])
    far.resume_reading()
    await asyncio.sleep(0)
    assert (client.seen, agent.seen, wire.paused) == ([(0, b"\1")], ["eof"], False)


async def test_the_pair_ends_with_its_second_side(pair: Pair) -> None:
    made, wire, client, agent, near, far = pair
    near.abort()
    near.close()
    assert (wire.sent, wire.closed, near.is_closing()) == (encode(Kind.ABORT, 0), False, True)
    made.data_received(encode(Kind.PACKET, 0, bytes(4) + b"\1"))
    far.abort()
    assert wire.closed
    made.connection_lost(None)
    assert (client.seen, agent.seen) == ([], [])


async def test_with_the_relay_both_sides_end(pair: Pair) -> None:
    made, _, client, agent, _, far = pair
    far.abort()
    made.connection_lost(None)
    assert (client.seen, agent.seen) == ([RELAY_ENDED], [])


@pytest.mark.parametrize("nonsense", [encode(Kind.START, 0), encode(Kind.LOST, 0), b"\0\0\0\1?!", b"\xff" * 9])
async def test_nonsense_ends_the_pair(pair: Pair, nonsense: bytes) -> None:
    made, wire, client, _, _, _ = pair
    made.data_received(nonsense)
    assert (wire.closed, client.seen) == (True, [])
