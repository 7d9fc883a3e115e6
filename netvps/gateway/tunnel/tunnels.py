"""Connections into sessions: agents keep a control stream open, and dial back one stream per connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

import structlog

from netvps.domain.tunnel import Activity, ConfigApplied, DialFailure, PortTarget, Reset, SelfService, SelfServiceAnswer
from netvps.errors import NetvpsError, Unavailable, WrongState
from netvps.gateway.tunnel.agents import COMMAND, Agent, ControlEnded
from netvps.gateway.tunnel.dial_stream import DialStream
from netvps.gateway.worker.joint import join_streams
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

    from netvps.domain.access.identity import SessionIdentity
    from netvps.domain.tunnel import AgentHello, DialTarget, Frame, FromAgent, SleepNotice, ToAgent
    from netvps.gateway.ports import AgentReports, AgentsElsewhere, Configs
    from netvps.gateway.tunnel.agents import Answer
    from netvps.gateway.tunnel.front import DirectConnection

log = structlog.get_logger()

MESSAGES_AT_ONCE, MESSAGES_A_SECOND = 512, 50
"""Rate limit of messages from one agent's control stream: it answers at most 256 dials, and reports every 10 s."""
MAX_ASKED = 8
"""Maximum requests of one agent (SelfService) without an answer; a further one is refused."""
CONNECT_TIMEOUT = 15.0
"""Seconds that `open` waits for an agent: a session that just started is RUNNING before its agent connects."""


ASK_AGAIN = 1.0
"""Seconds between two questions to other servers for an agent that is connected nowhere."""


class Tunnels:
    """All agents connected to this gateway. An async context manager; its end breaks the remaining connections.

    `control` and `dial_back` serve an agent's two kinds of streams; whoever iterates over them closes them
    (contextlib.aclosing), also when cancelled.
    """

    def __init__(self, authorizer: Configs, reports: AgentReports) -> None:
        self._authorizer = authorizer
        self._reports = reports
        self._agents: dict[str, Agent] = {}
        self._arrived = asyncio.Condition()
        self._tasks = Tasks()
        self._draining = False
        self._listeners: list[Callable[[str], None]] = []
        self.direct = False
        """Whether agents can make direct connections."""
        self._access_listeners: list[Callable[[str], None]] = []
        self._relayed_commands: Counter[str] = Counter()
        self.elsewhere: AgentsElsewhere | None = None
        """The agents of other servers; None if there are none."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for agent in list(self._agents.values()):
            for stream in list(agent.streams):
                stream.reset("the gateway is stopping")
            agent.end(Unavailable("the gateway is stopping"))
        await self._tasks.__aexit__()

    @property
    def controls(self) -> int:
        """Number of connected agents."""
        return len(self._agents)

    @property
    def dial_backs(self) -> int:
        """Number of open connections into sessions."""
        return sum(len(agent.streams) for agent in self._agents.values())

    async def unwatched(self, session_uids: Iterable[str]) -> set[str]:
        """The sessions whose agents are not connected, for which `on_config` does not call the listener."""
        return {uid for uid in session_uids if uid not in self._agents}

    def on_config(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a session's uid whenever its agent is sent a new config."""
        self._listeners.append(listener)

    def inform(self, session_uid: str, notice: SleepNotice) -> bool:
        """Sends a notice to a session's agent; returns whether that is connected here."""
        agent = self._agents.get(session_uid)
        if agent is not None:
            agent.inform(notice)
        return agent is not None

    def on_access(self, listener: Callable[[str], None]) -> None:
        """Calls `listener` with a user's name ('': everyone) whenever what they may do may have changed."""
        self._access_listeners.append(listener)

    def access_changed(self, user: str) -> None:
        """Tells the listeners."""
        for listener in self._access_listeners:
            listener(user)

    def drain(self) -> None:
        """Asks all agents to reconnect elsewhere, and accepts no new ones. Open streams continue."""
        self._draining = True
        for agent in self._agents.values():
            agent.drain()

    async def control(self, hello: AgentHello, incoming: AsyncIterator[FromAgent]) -> AsyncGenerator[ToAgent, None]:
        """Serves an agent's control stream until it ends or a newer one replaces it.

        Raises NotFound when the epoch of the agent is over, WrongState if a newer epoch is connected, Unavailable if
        the gateway is about to stop.
        """
        if self._draining:
            raise Unavailable("the gateway is about to stop: connect to another one, or later")
        agent = Agent(hello)
        await self._register(agent)
        bound = log.bind(session=hello.session_uid, epoch=hello.epoch)
        bound.info("agent connected", version=hello.version)
        tasks = [
            self._tasks.start(self._configure(agent), name=f"configs of {hello.session_uid}"),
            self._tasks.start(self._listen(agent, incoming), name=f"control of {hello.session_uid}"),
        ]
        try:
            async with aclosing(agent.messages()) as messages:
                async for message in messages:
                    yield message
        finally:
            agent.end()
            for task in tasks:
                task.cancel()
            if self._agents.get(hello.session_uid) is agent:
                del self._agents[hello.session_uid]
                self._reports.disconnected(hello.session_uid)
            bound.info("agent disconnected")

    async def dial_back(
        self, session_uid: str, dial_id: str, incoming: AsyncIterator[Frame]
    ) -> AsyncGenerator[Frame, None]:
        """Serves the stream of one connection; `session_uid` is from the agent's certificate."""
        stream = DialStream()
        agent = self._agents.get(session_uid)
        if agent is None or not agent.answer(dial_id, stream):
            log.warning("unexpected stream of an agent", session=session_uid, dial=dial_id)
            yield Reset("no dial waits for this stream: it is late, or was never requested")
            return
        agent.streams.add(stream)
        reader = self._tasks.start(_receive(stream, incoming), name=f"stream of {session_uid}")
        try:
            async with aclosing(stream.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            stream.broke("the connection to the session broke")
            reader.cancel()
            self._ended(agent, stream)

    def arrived(self, who: SessionIdentity, dial_id: str, connection: DirectConnection) -> bool:
        """Hands a direct connection to the dial that waits for it; returns False if there is none."""
        agent = self._agents.get(who.uid)
        if agent is None or agent.hello.epoch != who.epoch or not agent.answer(dial_id, connection):
            log.warning("unexpected connection of an agent", session=who.uid, epoch=who.epoch, dial=dial_id)
            return False
        agent.streams.add(connection)
        connection.on_end = lambda: self._ended(agent, connection)
        return True

    async def open(self, session_uid: str, target: DialTarget, origin: str) -> DialStream:
        """Opens a connection into a session, not started yet; `origin` names the client in the agent's log.

        Raises Unavailable if the agent does not connect within 15 s or cannot open it, Exhausted if it has too many.
        """
        return _not_direct(await self._open(session_uid, target, origin, direct=False))

    async def open_direct(self, session_uid: str, target: DialTarget, origin: str) -> Answer:
        """Like `open`, but a direct connection if the agent and this server can: to be joined with a socket."""
        return await self._open(session_uid, target, origin, direct=self.direct)

    def has(self, session_uid: str) -> bool:
        """Whether the agent of a session is connected here."""
        return session_uid in self._agents

    async def relay(
        self, session_uid: str, target: DialTarget, origin: str, incoming: AsyncIterator[Frame]
    ) -> AsyncGenerator[Frame, None]:
        """Opens a connection for another server, which has the client; returns the frames for that.

        Raises what `open` raises, but does not wait for an agent, and never asks a third server.
        """
        if session_uid not in self._agents:
            raise Unavailable("the session's agent is not connected to this server any more: try again")
        stream = await self._dial(self._agents[session_uid], target, origin, direct=False)
        far = DialStream()
        join_streams(far, _not_direct(stream))
        return self._relayed(session_uid, far, incoming, commands=int(origin.endswith(COMMAND)))

    def relayed_commands(self, session_uid: str) -> int:
        """Number of commands that other servers run in a session by its agent here."""
        return self._relayed_commands[session_uid]

    async def _relayed(
        self, session_uid: str, far: DialStream, incoming: AsyncIterator[Frame], *, commands: int
    ) -> AsyncGenerator[Frame, None]:
        self._relayed_commands[session_uid] += commands
        reader = self._tasks.start(_receive(far, incoming), name=f"stream of {session_uid} for another server")
        try:
            async with aclosing(far.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            far.broke("the connection between the servers broke")
            reader.cancel()
            self._relayed_commands -= Counter({session_uid: commands})  # without those that are 0 then

    async def _open(self, session_uid: str, target: DialTarget, origin: str, *, direct: bool) -> Answer:
        loop = asyncio.get_running_loop()
        until = loop.time() + CONNECT_TIMEOUT
        while True:
            if session_uid not in self._agents and (far := await self._open_elsewhere(session_uid, target, origin)):
                return far
            # An agent that is connected nowhere may come to this server or to another one.
            agent = await self._agent(session_uid, min(until, loop.time() + ASK_AGAIN) if self.elsewhere else until)
            if agent is None and loop.time() < until:
                continue
            if agent is None:
                raise Unavailable(
                    f"the session's agent is not connected (waited {CONNECT_TIMEOUT:.0f} s): "
                    "try again, and check the session's logs if that persists"
                )
            try:
                return await self._dial(agent, target, origin, direct=direct)
            except ControlEnded:
                log.info("agent disconnected while dialling", session=session_uid)

    async def _dial(self, agent: Agent, target: DialTarget, origin: str, *, direct: bool) -> Answer:
        stream = await agent.dial(target, origin, direct=direct)
        if isinstance(target, PortTarget) and target.counted and stream in agent.streams:  # not ended already
            agent.served.add(stream)
            self._reports.served(agent.hello.session_uid, len(agent.served))
        return stream

    async def _open_elsewhere(self, session_uid: str, target: DialTarget, origin: str) -> DialStream | None:
        if self.elsewhere is None:
            return None
        stream = DialStream()
        incoming = await self.elsewhere.dial(session_uid, target, origin, stream.frames())
        if incoming is None:
            return None
        self._tasks.start(_receive_all(stream, incoming), name=f"stream of {session_uid} by another server")
        return stream

    async def _agent(self, session_uid: str, until: float) -> Agent | None:
        """The agent once it is connected; None if it is not until then."""
        try:
            async with asyncio.timeout_at(until), self._arrived:
                await self._arrived.wait_for(lambda: session_uid in self._agents)
                return self._agents[session_uid]
        except TimeoutError:
            return None

    async def _register(self, agent: Agent) -> None:
        uid, epoch = agent.hello.session_uid, agent.hello.epoch
        async with self._arrived:
            old = self._agents.get(uid)
            if old is not None and old.hello.epoch > epoch:
                raise WrongState(f"session {uid} was moved: epoch {old.hello.epoch} is connected, this is {epoch}")
            if old is not None:
                self._replace(old, agent)
            self._agents[uid] = agent
            self._reports.connected(uid)
            self._reports.served(uid, len(agent.served))
            self._arrived.notify_all()

    def _replace(self, old: Agent, new: Agent) -> None:
        if old.hello.epoch == new.hello.epoch:
            new.streams, new.served = old.streams, old.served  # the same agent reconnected: its open streams continue
        else:
            for stream in list(old.streams):
                stream.reset("the session was moved")
        old.end()

    def _ended(self, agent: Agent, stream: Answer) -> None:
        agent.streams.discard(stream)
        if stream in agent.served:
            agent.served.discard(stream)
            self._reports.served(agent.hello.session_uid, len(agent.served))

    async def _configure(self, agent: Agent) -> None:
        hello = agent.hello
        try:
            async with aclosing(self._authorizer.configs(hello.session_uid, hello.epoch, hello.host_key)) as configs:
                async for config in configs:
                    agent.configure(config)
                    for listener in self._listeners:
                        listener(hello.session_uid)
        except NetvpsError as error:
            agent.end(error)
        finally:
            agent.end(Unavailable("the config stream of this session ended: connect again"))

    async def _listen(self, agent: Agent, incoming: AsyncIterator[FromAgent]) -> None:
        loop = asyncio.get_running_loop()
        left, at = float(MESSAGES_AT_ONCE), loop.time()
        try:
            async for message in incoming:
                left, at = min(MESSAGES_AT_ONCE, left + (loop.time() - at) * MESSAGES_A_SECOND) - 1, loop.time()
                if left < 0:  # delays only this agent's control stream
                    await asyncio.sleep(-left / MESSAGES_A_SECOND)
                match message:
                    case DialFailure():
                        agent.fail(message)
                    case ConfigApplied(generation):
                        log.debug("config applied", session=agent.hello.session_uid, generation=generation)
                    case Activity():
                        self._received(agent, message)
                    case SelfService():
                        self._serve(agent, message)
        except NetvpsError as error:  # a malformed message
            agent.end(error)
        finally:
            agent.end()

    def _received(self, agent: Agent, activity: Activity) -> None:
        if self._agents.get(agent.hello.session_uid) is agent:  # not replaced by a newer stream
            self._reports.report(agent.hello.session_uid, activity)

    def _serve(self, agent: Agent, request: SelfService) -> None:
        if agent.asked >= MAX_ASKED:
            agent.reply(SelfServiceAnswer(request.id, "too many requests at once: try again", failed=True))
            return
        agent.asked += 1
        self._tasks.start(self._answer(agent, request), name=f"request from inside {agent.hello.session_uid}")

    async def _answer(self, agent: Agent, request: SelfService) -> None:
        answer = SelfServiceAnswer(request.id, "an internal error: see the server's log", failed=True)
        try:
            text = await self._reports.serve(agent.hello.session_uid, agent.hello.epoch, request)
            answer = SelfServiceAnswer(request.id, text)
        except NetvpsError as error:
            answer = SelfServiceAnswer(request.id, error.message, failed=True)
        finally:
            agent.asked -= 1
            agent.reply(answer)


def _not_direct(stream: Answer) -> DialStream:
    if not isinstance(stream, DialStream):  # cannot be: no direct connection was asked for
        stream.abort()
        raise Unavailable("the session's agent answered in a way that was not asked for: try again")
    return stream


async def _receive_all(stream: DialStream, incoming: AsyncGenerator[Frame, None]) -> None:
    async with aclosing(incoming):
        await _receive(stream, incoming)


async def _receive(stream: DialStream, incoming: AsyncIterator[Frame]) -> None:
    try:
        async for frame in incoming:
            stream.receive(frame)
    except NetvpsError as error:  # a malformed frame
        stream.reset(error.message)
    finally:
        stream.broke("the connection to the session broke")
