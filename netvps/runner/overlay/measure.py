"""Examines a link: does a packet return, does the largest, and if not, which size does."""

from __future__ import annotations

import asyncio
from typing import Final

from netvps.domain.overlay.peer_health import Measured, Target
from netvps.runner.overlay.ports import Prober

SMALL: Final = 84
"""Bytes of an ordinary ping."""
WAITS: Final = (0.4, 0.8, 1.6)
"""Timeouts in seconds of the first and later attempts."""
_SIZES: Final = 8
"""Sizes tried at once: each round narrows the range to a ninth."""
_COPIES: Final = 2
_SHORTEST_WAIT: Final = 0.3


async def measure(prober: Prober, target: Target) -> Measured:
    """Measures a link. Takes two round trips if it is good, and at most five seconds."""
    rtt = await _first(prober, target.address, SMALL)
    if rtt is None:
        return Measured(None, 0, alive=await prober.echo(target.there, SMALL, WAITS[1]) is not None)
    if await _first(prober, target.address, target.mtu) is not None:
        return Measured(rtt, target.mtu)
    largest = await _largest(prober, target, max(_SHORTEST_WAIT, 4 * rtt))
    # Once more: on a lossy link the failures may be chance, not due to the size.
    if await prober.echo(target.address, target.mtu, WAITS[1]) is not None:
        largest = target.mtu
    return Measured(rtt, largest)


async def _first(prober: Prober, address: str, size: int) -> float | None:
    """Returns the round trip of the first attempt that is answered."""
    for wait in WAITS:
        if (rtt := await prober.echo(address, size, wait)) is not None:
            return rtt
    return None


async def _largest(prober: Prober, target: Target, wait: float) -> int:
    """Returns the size of the largest packet that returns, between a small one and the full size."""
    fits, lost = SMALL, target.mtu
    while lost - fits > 1:
        step = max(1, (lost - fits) // (_SIZES + 1))
        sizes = range(fits + step, lost, step)[: _SIZES + 1]
        tried = _COPIES * list(sizes)
        back = await asyncio.gather(*(prober.echo(target.address, size, wait) for size in tried))
        answered = {size for size, rtt in zip(tried, back, strict=True) if rtt is not None}
        fits = max(answered, default=fits)
        lost = min((size for size in sizes if size > fits), default=lost)
    return fits
