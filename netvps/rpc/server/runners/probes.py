"""Passes link measurements from runners to whoever requested them (services.ports.Prober)."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.overlay.peer_health import Link, ProbeReport, ProbeRequest
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from netvps.rpc.server.runners.runner_streams import RunnerStreams

log = structlog.get_logger()

ANSWER_TIMEOUT = 10.0
MAX_AT_ONCE: Final = 256
"""Maximum pending requests to all runners."""
MAX_OF_A_RUNNER: Final = 2
"""Maximum pending requests to one runner."""


class StreamedProbes:
    """Sends probe requests on the runners' streams, and returns their reports."""

    def __init__(self, streams: RunnerStreams) -> None:
        self._streams = streams
        self._waiting: dict[tuple[str, str], asyncio.Future[ProbeReport]] = {}
        """By runner and request id."""
        self._asked: Counter[str] = Counter()

    async def probe(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """As in the Protocol; waits ANSWER_TIMEOUT seconds for the answer."""
        if self._streams.elsewhere is not None and not self._streams.has(runner_uid):
            return await self._streams.elsewhere.probe(runner_uid, peers)
        return await self.probe_here(runner_uid, peers)

    async def probe_here(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """The same of a runner of this server."""
        if len(self._waiting) >= MAX_AT_ONCE:
            raise Unavailable("too many links are being measured: try again in some seconds")
        if self._asked[runner_uid] >= MAX_OF_A_RUNNER:
            raise Unavailable("the runner is busy with other measurements: try again in some seconds")
        probe_id = secrets.token_hex(16)
        answer: asyncio.Future[ProbeReport] = asyncio.get_running_loop().create_future()
        self._waiting[runner_uid, probe_id] = answer
        self._asked[runner_uid] += 1
        try:
            self._streams.push_here(runner_uid, ProbeRequest(probe_id, peers))
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return (await answer).links
        except TimeoutError:
            raise Unavailable(
                f"the runner did not answer within {ANSWER_TIMEOUT:.0f} s: try again; if it is older than the server,"
                " upgrade it"
            ) from None
        finally:
            del self._waiting[runner_uid, probe_id]
            self._asked -= Counter((runner_uid,))

    def deliver(self, runner_uid: str, report: ProbeReport) -> None:
        """Delivers a runner's report; drops it if it was not requested or is too late."""
        answer = self._waiting.get((runner_uid, report.probe_id))
        if answer is None or answer.done():
            log.debug("unexpected probe report", runner=runner_uid)
        else:
            answer.set_result(report)
