"""Measurements of links on their way from a runner to whoever asked (services.ports.Prober)."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.overlay.health import Link, ProbeReport, ProbeRequest
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from netvps.rpc.runner_streams import RunnerStreams

log = structlog.get_logger()

ANSWER_TIMEOUT = 10.0
MAX_AT_ONCE: Final = 256
"""Requests that wait for an answer, to all runners together."""
MAX_OF_A_RUNNER: Final = 2
"""Requests that one runner works on."""


class StreamedProbes:
    """Asks runners over their streams, and hands on what they report."""

    def __init__(self, streams: RunnerStreams) -> None:
        self._streams = streams
        self._waiting: dict[tuple[str, str], asyncio.Future[ProbeReport]] = {}
        """By the runner that was asked, and the id that it was asked with."""
        self._asked: Counter[str] = Counter()

    async def probe(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """As the port says; the answer is waited for ANSWER_TIMEOUT seconds."""
        if len(self._waiting) >= MAX_AT_ONCE:
            raise Unavailable("too many links are being measured just now: try again in some seconds")
        if self._asked[runner_uid] >= MAX_OF_A_RUNNER:
            raise Unavailable("the runner measures links for others just now: try again in some seconds")
        probe_id = secrets.token_hex(16)
        answer: asyncio.Future[ProbeReport] = asyncio.get_running_loop().create_future()
        self._waiting[runner_uid, probe_id] = answer
        self._asked[runner_uid] += 1
        try:
            self._streams.push(runner_uid, ProbeRequest(probe_id, peers))
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
        """Takes what a runner measured; what it was not asked for, or by nobody who still waits, is let go of."""
        answer = self._waiting.get((runner_uid, report.probe_id))
        if answer is None or answer.done():
            log.debug("nobody waits for these links", runner=runner_uid)
        else:
            answer.set_result(report)
