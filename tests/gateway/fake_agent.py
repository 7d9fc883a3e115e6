"""An agent in Python: speaks the frames of the tunnel, with its credits, and dials TCP for whatever it is asked."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Self

from netvps.domain.tunnel import (
    INITIAL_CREDIT,
    MAX_DATA,
    AgentConfig,
    AgentHello,
    Credit,
    Data,
    DialFailure,
    DialRequest,
    Drain,
    Eof,
    Frame,
    FromAgent,
    Reset,
    SelfServiceAnswer,
    SleepNotice,
)
from netvps.tasks import Tasks
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from netvps.gateway.tunnel.tunnels import Tunnels


async def until_none(queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    """The items of a queue, until a None."""
    while (item := await queue.get()) is not None:
        yield item


class FakeAgent:
    """Connects to Tunnels as the session's agent while its block lasts; dials 127.0.0.1:`port`."""

    def __init__(self, tunnels: Tunnels, session_uid: str, port: int, *, epoch: int = 1) -> None:
        self.tunnels = tunnels
        self.hello = AgentHello(session_uid, epoch, "fake", "ssh-ed25519 AAAA", resumable=True)
        self.port = port
        self.say: asyncio.Queue[FromAgent | None] = asyncio.Queue()
        self.configs: list[AgentConfig] = []
        self.requests: list[DialRequest] = []
        self.answers: list[SelfServiceAnswer] = []
        self.notices: list[SleepNotice] = []
        self.drained = asyncio.Event()
        self.connections: set[asyncio.StreamWriter] = set()
        self.resets: list[str] = []
        self.mute = False
        """Whether it never answers a dial."""
        self.tasks = Tasks()

    async def __aenter__(self) -> Self:
        await self.tasks.__aenter__()
        self.control = self.tasks.start(self._control(), name="fake agent")
        await self.until(lambda: bool(self.configs))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.__aexit__()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.005)

    async def _control(self) -> None:
        async with aclosing(self.tunnels.control(self.hello, until_none(self.say))) as messages:
            async for message in messages:
                match message:
                    case AgentConfig():
                        self.configs.append(message)
                    case DialRequest():
                        self.requests.append(message)
                        if not self.mute:
                            self.tasks.start(self._dial(message), name="fake dial")
                    case SelfServiceAnswer():
                        self.answers.append(message)
                    case SleepNotice():
                        self.notices.append(message)
                    case Drain():
                        self.drained.set()

    async def _dial(self, request: DialRequest) -> None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError as error:
            await self.say.put(DialFailure(request.dial_id, str(error)))
            return
        self.connections.add(writer)
        try:
            await FakeStream(self, reader, writer).run(request.dial_id)
        finally:
            self.connections.discard(writer)
            writer.transport.abort()


class FakeStream:
    """One DialBack stream joined with one TCP connection."""

    def __init__(self, agent: FakeAgent, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.agent, self.reader, self.writer = agent, reader, writer
        self.out: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.credit = INITIAL_CREDIT
        self.more = asyncio.Event()
        self.pending = 0

    async def run(self, dial_id: str) -> None:
        uplink = self.agent.tasks.start(self._uplink(), name="uplink")
        inbound: asyncio.Queue[Frame | None] = asyncio.Queue()
        writing = self.agent.tasks.start(self._write(inbound), name="write")
        outgoing = until_none(self.out)
        try:
            stream = self.agent.tunnels.dial_back(self.agent.hello.session_uid, dial_id, outgoing)
            async with aclosing(stream) as frames:
                async for frame in frames:
                    match frame:
                        case Credit(size):
                            self.credit += size
                            self.more.set()
                        case Reset(reason):
                            self.agent.resets.append(reason)
                            return
                        case _:
                            if isinstance(frame, Data):
                                self.pending += len(frame.payload)
                                assert self.pending <= INITIAL_CREDIT, "the gateway sent more than it had credit for"
                            inbound.put_nowait(frame)
        finally:
            uplink.cancel()
            inbound.put_nowait(None)
            await writing

    async def _uplink(self) -> None:
        try:
            while data := await self.reader.read(MAX_DATA):
                while data:
                    while not self.credit:
                        self.more.clear()
                        await self.more.wait()
                    piece, data = data[: self.credit], data[self.credit :]
                    self.credit -= len(piece)
                    self.out.put_nowait(Data(piece))
            self.out.put_nowait(Eof())
        except ConnectionError as error:
            self.out.put_nowait(Reset(str(error)))

    async def _write(self, inbound: asyncio.Queue[Frame | None]) -> None:
        async for frame in until_none(inbound):
            if isinstance(frame, Eof):
                self.writer.write_eof()
            elif isinstance(frame, Data):
                self.writer.write(frame.payload)
                await self.writer.drain()
                self.pending -= len(frame.payload)
                self.out.put_nowait(Credit(len(frame.payload)))
