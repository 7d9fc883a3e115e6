"""One connection as an asyncio transport: credits, half-close, ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from netvps.domain.tunnel import INITIAL_CREDIT, MAX_DATA, Credit, Data, Eof, Frame, Reset
from netvps.gateway.tunnel import dial_stream
from netvps.gateway.tunnel.dial_stream import CREDIT_BATCH, HIGH_WATER, DialStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Recorder(asyncio.Protocol):
    """Writes down what its transport tells it."""

    def __init__(self, *, keep_open: bool = True) -> None:
        self.seen: list[object] = []
        self.keep_open = keep_open

    def data_received(self, data: bytes) -> None:
        self.seen.append(data)

    def eof_received(self) -> bool:
        self.seen.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.seen.append("pause")

    def resume_writing(self) -> None:
        self.seen.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.seen.append(("lost", str(exc) if exc else None))


@pytest.fixture
async def stream() -> DialStream:
    return DialStream()


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def say(frames: AsyncGenerator[Frame, None]) -> Frame:
    return await asyncio.wait_for(anext(frames), 1)


def silent(stream: DialStream) -> bool:
    return stream._next() is None


async def test_data_that_came_before_the_protocol_is_kept(stream: DialStream) -> None:
    stream.receive(Data(b"early"))
    stream.start(seen := Recorder())
    await turn()
    assert seen.seen == [b"early"]


async def test_what_was_taken_is_credited_in_batches(stream: DialStream) -> None:
    stream.start(Recorder())
    frames = stream.frames()
    stream.receive(Data(b"x" * (CREDIT_BATCH - 1)))
    assert silent(stream)
    stream.receive(Data(b"x"))
    assert await say(frames) == Credit(CREDIT_BATCH)
    assert silent(stream)


async def test_what_a_paused_protocol_does_not_take_is_not_credited(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    stream.pause_reading()
    stream.pause_reading()
    for _ in range(4):
        stream.receive(Data(b"x" * MAX_DATA))
    await turn()
    assert seen.seen == []
    assert silent(stream)
    stream.resume_reading()
    await turn()
    assert sum(len(piece) for piece in seen.seen if isinstance(piece, bytes)) == INITIAL_CREDIT
    assert await say(stream.frames()) == Credit(INITIAL_CREDIT)


async def test_more_than_the_credit_breaks_the_connection(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    stream.pause_reading()
    for _ in range(5):
        stream.receive(Data(b"x" * MAX_DATA))
    await turn()
    assert [frame async for frame in stream.frames()] == [Reset("more data than credit")]
    assert seen.seen == [("lost", "more data than credit")]


async def test_nothing_is_sent_beyond_the_agents_credit(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    frames = stream.frames()
    stream.write(b"x" * (INITIAL_CREDIT + 10))
    sent = [await say(frames) for _ in range(INITIAL_CREDIT // MAX_DATA)]
    assert sent == [Data(b"x" * MAX_DATA)] * 4
    assert silent(stream)
    stream.receive(Credit(4))
    assert await say(frames) == Data(b"xxxx")
    assert silent(stream)
    assert stream.get_write_buffer_size() == 6
    await turn()
    assert seen.seen == ["pause", "resume"]


async def test_a_writer_is_paused_only_past_the_mark(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    stream.write(b"x" * HIGH_WATER)
    assert seen.seen == []
    stream.write(b"x")
    stream.write(b"x")
    assert seen.seen == ["pause"]


async def test_small_writes_share_a_frame(stream: DialStream) -> None:
    stream.start(Recorder())
    for _ in range(100):
        stream.write(b"x")
    assert await say(stream.frames()) == Data(b"x" * 100)


async def test_both_directions_end_apart(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    frames = stream.frames()
    stream.write(b"last")
    stream.write_eof()
    assert [await say(frames), await say(frames)] == [Data(b"last"), Eof()]
    stream.receive(Data(b"more"))
    stream.receive(Eof())
    assert [frame async for frame in frames] == []
    await turn()
    assert seen.seen == [b"more", "eof", ("lost", None)]


async def test_the_end_waits_for_a_paused_reader(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    stream.pause_reading()
    stream.receive(Data(b"more"))
    stream.receive(Eof())
    stream.write_eof()
    assert await say(stream.frames()) == Eof()
    assert stream._next() is None
    await turn()
    assert seen.seen == []
    stream.resume_reading()
    await turn()
    assert seen.seen == [b"more", "eof"]


async def test_a_protocol_that_does_not_stay_open_closes(stream: DialStream) -> None:
    stream.start(seen := Recorder(keep_open=False))
    stream.receive(Eof())
    assert stream.is_closing()
    assert [frame async for frame in stream.frames()] == [Eof()]
    await turn()
    assert seen.seen == ["eof", ("lost", None)]


async def test_close_sends_what_was_written_and_takes_no_more(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    frames = stream.frames()
    stream.write(b"last")
    stream.close()
    stream.write(b"too late")
    stream.receive(Data(b"x" * CREDIT_BATCH))
    assert [await say(frames) for _ in range(3)] == [Credit(CREDIT_BATCH), Data(b"last"), Eof()]
    stream.receive(Eof())
    assert [frame async for frame in frames] == []
    await turn()
    assert seen.seen == [("lost", None)]


async def test_an_agent_that_does_not_end_its_direction_is_reset(
    stream: DialStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial_stream, "LINGER", 0.01)
    stream.start(Recorder())
    stream.close()
    assert [frame async for frame in stream.frames()] == [Eof(), Reset("the gateway closed the connection")]


async def test_a_reset_is_the_end(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    stream.receive(Reset("no more"))
    stream.receive(Data(b"late"))
    assert [frame async for frame in stream.frames()] == []
    await turn()
    assert seen.seen == [("lost", "no more")]


async def test_a_protocol_that_comes_too_late_is_reported(stream: DialStream) -> None:
    stream.broke("gone")
    stream.start(seen := Recorder())
    await turn()
    assert seen.seen == [("lost", "the connection broke")]


async def test_a_protocol_that_paused_reading_hears_of_the_end_when_it_goes_on(stream: DialStream) -> None:
    stream.start(seen := Recorder())
    stream.receive(Data(b"x"))
    await turn()
    stream.pause_reading()
    stream.receive(Eof())
    await turn()
    assert seen.seen == [b"x"]
    stream.resume_reading()
    await turn()
    assert seen.seen == [b"x", "eof"]
