"""Decides by TCP transfers whether the network card may compute checksums: no card reports that it gets them wrong.

Without offload only speed is lost. So a machine whose test is interrupted turns offload off, and keeps it off for a
while even if that did not help: the peer's card may be at fault, and the peer cannot find out while ours may be wrong,
too. No answer at all is mostly not due to checksums: then offload stays off only if that helped, or if the next test
gets no answer either (two cards that corrupt even the first packet).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from netvps.domain.overlay.peer_health import Problem, Target, TcpOutcome

PATIENCE: Final = 3
"""Failed tests after which checksums are not the cause."""
Exchange = Callable[[], Awaitable[TcpOutcome]]


class SelfTest:
    """Call `run` until it returns GOOD."""

    def __init__(self, put: Callable[[bool], Awaitable[None]]) -> None:
        """`put` turns offload on or off in the kernel."""
        self._put = put
        self._doubtful = False
        """Offload is off although that did not help."""
        self.failures = 0
        """Consecutive failed tests."""

    async def run(self, exchange: Exchange, *, offload: bool) -> TcpOutcome:
        """Returns the final outcome; `offload` is the present setting."""
        outcome = await _tried(exchange)
        if outcome is TcpOutcome.ABSENT:
            return outcome
        if outcome is TcpOutcome.GOOD:
            if self._doubtful:
                await self._put_if_good(exchange)
        elif offload:
            once_silent = outcome is TcpOutcome.SILENT and self.failures == 0
            await self._put(False)
            outcome = await _tried(exchange)
            self._doubtful = outcome is not TcpOutcome.GOOD
            if once_silent and self._doubtful:
                await self._put(True)
                self._doubtful = False
        self.failures = 0 if outcome is TcpOutcome.GOOD else self.failures + 1
        if self.failures >= PATIENCE:
            await self._put(True)
        if self.failures == 0 or self.failures >= PATIENCE:
            self._doubtful = False
        return outcome

    async def _put_if_good(self, exchange: Exchange) -> None:
        """TCP works without offload: tests whether it does with offload again."""
        await self._put(True)
        if await _tried(exchange) is not TcpOutcome.GOOD:
            await self._put(False)


async def _tried(exchange: Exchange) -> TcpOutcome:
    """Tries twice: one failure may be chance."""
    outcome = await exchange()
    return outcome if outcome in {TcpOutcome.GOOD, TcpOutcome.ABSENT} else await exchange()


def broken(target: Target) -> Problem:
    """Describes TCP that connects but does not transfer, with checksum offload or without."""
    return Problem(
        f"TCP is interrupted on the overlay between {target.own} ({target.here}) and {target.name} ({target.there}), "
        "though"
        " packets of all sizes arrive: look for a firewall or network card between them that changes or drops"
        f" packets of UDP port {target.port}",
        target.peer,
    )
