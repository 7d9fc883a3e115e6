"""One connection into a session, as an asyncio transport over the frames of a DialBack stream.

Flow control is by credits, one window per direction (tunnel.proto). Data that the protocol does not accept, because it
paused reading, is not credited, so the agent stops sending. Data without credit from the agent is buffered here, and
above the high-water mark the protocol is asked to pause writing. So a stream buffers at most one window of input, and
the high-water mark plus one write of output.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from netvps.domain.tunnel import INITIAL_CREDIT, MAX_DATA, Credit, Data, Eof, Frame, Reset

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

CREDIT_BATCH = INITIAL_CREDIT // 4
HIGH_WATER, LOW_WATER = MAX_DATA, MAX_DATA // 4
_SMALL: Final = 1024
LINGER = 10.0
"""Seconds that the agent has to end its direction after this side closed."""


class DialStream(asyncio.Transport):
    """An asyncio transport: after `start` with a protocol it behaves like a TCP connection, including half-close.

    The tunnel side uses `frames`, the frames to send to the agent, and `receive`, for frames from it.
    """

    way: Final = "tunnel"

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._protocol: asyncio.Protocol | None = None
        self._wake = asyncio.Event()
        self._in: deque[bytes] = deque()
        self._granted = INITIAL_CREDIT
        self._taken = 0
        self._reading = True
        self._delivering = False
        self._in_eof = False
        self._eof_delivered = False
        self._out = bytearray()
        self._credit = INITIAL_CREDIT
        self._writing_paused = False
        self._out_eof = False
        self._sent_eof = False
        self._closing = False
        self._reset: Reset | None = None
        self._over = False
        self._linger: asyncio.TimerHandle | None = None

    # For the protocol

    def start(self, protocol: asyncio.Protocol) -> None:
        """Connects the stream to its protocol; called once."""
        self._protocol = protocol
        protocol.connection_made(self)
        if self._over:
            self._loop.call_soon(protocol.connection_lost, ConnectionResetError("the connection broke"))
        self._loop.call_soon(self._deliver)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that was passed to `start`."""
        if self._protocol is None:
            raise RuntimeError("this stream was not started")
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Queues data; calls the protocol's `pause_writing` above the high-water mark."""
        if self._over or self._out_eof:
            return
        self._out += data
        if len(self._out) > HIGH_WATER and not self._writing_paused and self._protocol is not None:
            self._writing_paused = True
            self._protocol.pause_writing()
        self._wake.set()

    def can_write_eof(self) -> bool:
        """Always: Eof is a frame."""
        return True

    def write_eof(self) -> None:
        """Ends this direction after all written data is sent."""
        self._out_eof = True
        self._wake.set()

    def pause_reading(self) -> None:
        """Stops `data_received` until `resume_reading`; idempotent."""
        self._reading = False

    def resume_reading(self) -> None:
        """Resumes `data_received`."""
        if not self._reading:
            self._reading = True
            self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        """Whether reading is not paused."""
        return self._reading and not self._closing

    def is_closing(self) -> bool:
        """Whether it is closed or lost."""
        return self._closing or self._over

    def get_write_buffer_size(self) -> int:
        """Number of bytes written but not sent."""
        return len(self._out)

    def close(self) -> None:
        """Sends the written data, then ends; discards further input."""
        if self.is_closing():
            return
        self._closing = True
        self._taken += sum(len(piece) for piece in self._in)
        self._in.clear()
        self.write_eof()
        self._linger = self._loop.call_later(LINGER, self.abort)

    def abort(self) -> None:
        """Ends immediately; sends a Reset to the agent unless both directions had ended."""
        self.reset("the gateway closed the connection")

    def other_way(self) -> bool:
        """False: there is no alternative to the tunnel."""
        return False

    # For the tunnel

    def reset(self, reason: str) -> None:
        """Aborts the connection and sends the reason to the agent."""
        if not self._over:
            self._reset = Reset(reason)
            self._lost(ConnectionAbortedError(reason))

    def broke(self, reason: str) -> None:
        """Marks the connection as lost, without a Reset: the agent is gone."""
        self._lost(ConnectionResetError(reason))

    def receive(self, frame: Frame) -> None:
        """Handles a frame from the agent."""
        match frame:
            case Data(payload):
                self._receive_data(payload)
            case Credit(size):
                self._credit += size
                self._wake.set()
            case Eof():
                self._in_eof = True
                self._deliver()
                self._wake.set()
            case Reset(reason):
                self.broke(reason)

    async def frames(self) -> AsyncGenerator[Frame, None]:
        """Yields the frames for the agent; ends when both directions have ended, or after a Reset."""
        while True:
            self._wake.clear()
            frame = self._next()
            if frame is not None:
                yield frame
            elif self._over:
                return
            else:
                await self._wake.wait()

    def _next(self) -> Frame | None:
        if self._over:
            frame, self._reset = self._reset, None
            return frame
        if self._taken >= CREDIT_BATCH and not self._in_eof:
            credit, self._taken = self._taken, 0
            self._granted += credit
            return Credit(credit)
        size = min(len(self._out), self._credit, MAX_DATA)
        if size:
            return self._next_data(size)
        if self._out_eof and not self._out and not self._sent_eof:
            self._sent_eof = True
            return Eof()
        if self._sent_eof and self._in_eof and not self._in:
            self._lost(None)
        return None

    def _next_data(self, size: int) -> Data:
        payload = bytes(self._out) if size == len(self._out) else bytes(memoryview(self._out)[:size])
        del self._out[:size]
        self._credit -= size
        if self._writing_paused and len(self._out) <= LOW_WATER:
            self._writing_paused = False
            if self._protocol is not None:
                self._loop.call_soon(self._protocol.resume_writing)
        return Data(payload)

    def _receive_data(self, payload: bytes) -> None:
        self._granted -= len(payload)
        if self._granted < 0:
            self.reset("more data than credit")
        elif self._over or self._closing:
            self._take(len(payload))
        elif payload:
            if self._in and len(self._in[-1]) + len(payload) <= _SMALL:  # bounds the number of pieces
                self._in[-1] += payload
            else:
                self._in.append(payload)
            self._deliver()

    def _take(self, size: int) -> None:
        self._taken += size
        if self._taken >= CREDIT_BATCH:
            self._wake.set()

    def _deliver(self) -> None:
        if self._delivering or self._protocol is None:
            return
        self._delivering = True
        try:
            while self._in and self._reading and not self.is_closing():
                piece = self._in.popleft()
                self._protocol.data_received(piece)
                self._take(len(piece))
        finally:
            self._delivering = False
        if self._in_eof and not self._in and self._reading and not self._eof_delivered and not self.is_closing():
            self._eof_delivered = True
            self._wake.set()
            if not self._protocol.eof_received():
                self.close()

    def _lost(self, error: Exception | None) -> None:
        if self._over:
            return
        self._over = True
        self._in.clear()
        self._out.clear()
        if self._linger is not None:
            self._linger.cancel()
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, error)
        self._wake.set()
