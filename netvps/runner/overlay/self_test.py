"""Whether checksums may be left to the network card: tried by real TCP, since no card tells that it gets them wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from netvps.domain.overlay.health import Problem, TcpOutcome
from netvps.domain.overlay.probing import Target


async def find_offload(
    exchange: Callable[[], Awaitable[TcpOutcome]], put: Callable[[bool], Awaitable[None]], *, offload: bool
) -> tuple[bool, TcpOutcome]:
    """Whether there shall be offload, and what TCP comes to then. `put` sets it in the kernel, `offload` is how it is.

    It is kept as it is where that works; if only the other way does, that; if none does, it is on.
    """
    outcome = await _tried(exchange)
    if outcome in {TcpOutcome.GOOD, TcpOutcome.ABSENT}:
        return offload, outcome
    await put(not offload)
    if await _tried(exchange) is TcpOutcome.GOOD:
        return not offload, TcpOutcome.GOOD
    await put(True)
    return True, outcome


async def _tried(exchange: Callable[[], Awaitable[TcpOutcome]]) -> TcpOutcome:
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
