"""Connected agents: the messages to each, and its pending dials."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.tunnel import (
    NOTHING_LISTENS,
    AgentConfig,
    DialFailure,
    DialRequest,
    DialTarget,
    Drain,
    ResumableTarget,
    SelfServiceAnswer,
    SleepNotice,
    ToAgent,
)
from netvps.errors import Exhausted, Unavailable, WrongState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.domain.tunnel import AgentHello
    from netvps.gateway.tunnel.dial_stream import DialStream
    from netvps.gateway.tunnel.front import DirectConnection

    Answer = DialStream | DirectConnection

DIAL_TIMEOUT = 10.0
"""Seconds that an agent has to open the stream of a dial."""
DIAL_REFUSED = "DIAL_REFUSED"
"""The reason of the error if the agent answered that it could not connect."""
COMMAND = "@exec"
"""The end of the origin of a connection for a command of the API (ExecSession)."""
MAX_PENDING = 256
MAX_STREAMS = 2000


class ControlEnded(Unavailable):
    """The agent's control stream ended before it answered a dial; another dial may succeed once it reconnects."""


class Agent:
    """One control stream of an agent.

    Its outgoing messages are bounded: the latest config and notice, 256 dials, and answers to what it asked for.
    """

    def __init__(self, hello: AgentHello) -> None:
        self.hello = hello
        self.streams: set[Answer] = set()
        self.served: set[Answer] = set()
        """Those for HTTP that keep the session awake."""
        self._dials: dict[str, asyncio.Future[Answer]] = {}
        self._requests: deque[DialRequest] = deque()
        self._config: AgentConfig | None = None
        self._configured = False
        self._drain = False
        self._notice: SleepNotice | None = None
        self._answers: deque[SelfServiceAnswer] = deque()
        self.asked = 0
        """Number of its requests (SelfService) that are not answered yet."""
        self._ended = False
        self._error: BaseException | None = None
        self._wake = asyncio.Event()

    def configure(self, config: AgentConfig) -> None:
        """Sets the config to send; replaces one that was not sent yet."""
        self._config = config
        self._wake.set()

    def inform(self, notice: SleepNotice) -> None:
        """Sends a notice; replaces one that was not sent yet, except for its warning."""
        waiting = self._notice.warning if self._notice else ""
        self._notice = notice if notice.warning else replace(notice, warning=waiting)
        self._wake.set()

    def reply(self, answer: SelfServiceAnswer) -> None:
        """Answers a request of the agent."""
        self._answers.append(answer)
        self._wake.set()

    def drain(self) -> None:
        """Asks the agent to reconnect, elsewhere or later."""
        self._drain = True
        self._wake.set()

    def end(self, error: BaseException | None = None) -> None:
        """Ends the control stream, with an error if given. Open streams of connections continue."""
        if self._ended:
            return
        self._ended, self._error = True, error
        for future in self._dials.values():
            if not future.done():
                future.set_exception(ControlEnded("the session's agent went away: try again"))
        self._wake.set()

    async def messages(self) -> AsyncGenerator[ToAgent, None]:
        """Yields the messages for the agent until `end`. Dials are held back until the first config was sent.

        Without a config the agent has no CA and no host certificate, so it would reject every login through such a
        dial.
        """
        while True:
            self._wake.clear()
            if self._ended:
                if self._error is not None:
                    raise self._error
                return
            if self._config is not None:
                config, self._config = self._config, None
                self._configured = True
                yield config
            elif self._requests and self._configured:
                yield self._requests.popleft()
            elif self._answers:
                yield self._answers.popleft()
            elif self._notice is not None:
                notice, self._notice = self._notice, None
                yield notice
            elif self._drain:
                self._drain = False
                yield Drain()
            else:
                await self._wake.wait()

    async def dial(self, target: DialTarget, origin: str, *, direct: bool = False) -> Answer:
        """Opens a connection; `direct` allows a direct one.

        Raises Exhausted, Unavailable, or ControlEnded, after which the agent may reconnect; WrongState if the agent
        does not know the target.
        """
        if isinstance(target, ResumableTarget) and not self.hello.resumable:
            raise WrongState(
                "its agent is of an older netvps: restart the session (netvps restart NAME), or use plain ssh"
            )
        if len(self._dials) >= MAX_PENDING or len(self._dials) + len(self.streams) >= MAX_STREAMS:
            raise Exhausted("the session has too many connections: close some")
        request = DialRequest(secrets.token_urlsafe(16), target, origin, direct and self.hello.direct)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._dials[request.dial_id] = future
        self._requests.append(request)
        self._wake.set()
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                return await future
        except (TimeoutError, asyncio.CancelledError) as ended:
            # The answer may arrive at the moment of the timeout or cancellation. Without a reader the stream would
            # leak.
            if not future.cancelled() and future.exception() is None:
                future.result().abort()
            if isinstance(ended, asyncio.CancelledError):
                raise
            raise Unavailable(f"the session did not answer within {DIAL_TIMEOUT:.0f} s: try again") from None
        finally:
            del self._dials[request.dial_id]
            if request in self._requests:
                self._requests.remove(request)

    def answer(self, dial_id: str, stream: Answer) -> bool:
        """Hands the stream to the waiting dial; returns False if no dial waits for it (any more)."""
        future = self._dials.get(dial_id)
        if future is None or future.done():
            return False
        future.set_result(stream)
        return True

    def fail(self, failure: DialFailure) -> None:
        """Reports a failed connection to the waiting dial."""
        future = self._dials.get(failure.dial_id)
        if future is not None and not future.done():
            reason = NOTHING_LISTENS if failure.reason.startswith("connection refused") else DIAL_REFUSED
            future.set_exception(Unavailable(f"the session could not connect: {failure.reason}", reason=reason))
