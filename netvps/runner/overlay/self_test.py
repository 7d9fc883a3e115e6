"""Whether checksums may be left to the network card: tried by real TCP, since no card tells that it gets them wrong.

Without offload nothing is wrong but some speed. So a machine whose test breaks off goes without, and stays so for a
while even if that did not help: then it may be the other machine's card, which cannot find out as long as ours is
wrong, too. No answer at all is mostly not for the checksums: then it stays without only if that helped, or if there is
none the next time either (two cards that spoil the first packet already).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from netvps.domain.overlay.health import Problem, TcpOutcome
from netvps.domain.overlay.probing import Target

PATIENCE: Final = 3
"""Tests that fail; after so many it is not for the checksums."""
Exchange = Callable[[], Awaitable[TcpOutcome]]


class SelfTest:
    """`run` it until it comes to GOOD."""

    def __init__(self, put: Callable[[bool], Awaitable[None]]) -> None:
        """`put` turns offload on or off in the kernel."""
        self._put = put
        self._doubtful = False
        """Whether offload is off though that did not help."""
        self.failures = 0
        """Tests in a row that failed."""

    async def run(self, exchange: Exchange, *, offload: bool) -> TcpOutcome:
        """What TCP comes to in the end; `offload` is how it is now."""
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
        """It works without: does it by now with offload, too?"""
        await self._put(True)
        if await _tried(exchange) is not TcpOutcome.GOOD:
            await self._put(False)


async def _tried(exchange: Exchange) -> TcpOutcome:
    """Twice: one failure may be chance."""
    outcome = await exchange()
    return outcome if outcome in {TcpOutcome.GOOD, TcpOutcome.ABSENT} else await exchange()


def broken(target: Target) -> Problem:
    """TCP begins, and does not come through, with checksum offload or without."""
    return Problem(
        f"TCP breaks off on the overlay between {target.own} ({target.here}) and {target.name} ({target.there}), though"
        " packets of all sizes come through: look for a firewall or a network card between them that changes or drops"
        f" what UDP port {target.port} carries",
        target.peer,
    )
