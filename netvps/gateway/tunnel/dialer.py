"""Routes into a session: over the overlay if this machine is on it, and through the tunnel, which always works.

    overlay  ├──────────────────► greeting        the first one wins; the other is cancelled
    tunnel   │ 150 ms ├─────────► stream

The overlay is faster, and neither passes through the process of the runner nor depends on it. If it loses the race, or
leads to another session's agent, it is not used for this session for a minute, unless the tunnel fails, too.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.domain.tunnel import SshTarget
from netvps.errors import NetvpsError
from netvps.gateway.tunnel.overlay_stream import connect
from netvps.tasks import Tasks
from netvps.timing import observe_duration

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from netvps.domain.tunnel import DialTarget
    from netvps.gateway.ports import Dial, Locate, SessionDialer, Stream
    from netvps.services.network.gateway_location import Route

log = structlog.get_logger()
Try = asyncio.Task["Stream | NetvpsError"]

HEAD_START = 0.15
"""Seconds that the overlay gets before the tunnel is tried as well."""
AVOIDED: Final = 60.0
"""Seconds for which the overlay is not tried for a session that it failed for."""
REMEMBERED: Final = 10_000
"""Maximum number of such sessions."""


class Dialer:
    """Opens connections on the fastest route.

    An async context manager inside that of its tunnels; without `locate` only tunnels are used.
    """

    def __init__(self, tunnels: SessionDialer, locate: Locate | None = None) -> None:
        self.tunnels = tunnels
        self._locate = locate
        self._tasks = Tasks()
        self._avoided: dict[str, float] = {}
        """End of the avoidance by session, sorted by time."""

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.__aexit__()

    async def open(self, session_uid: str, target: DialTarget, origin: str) -> Stream:
        """Opens a connection into a session, not started yet: to its SSH server by either route, else by the tunnel.

        Raises what Tunnels.open raises.
        """
        began = time.monotonic()

        async def tunnel() -> Stream:
            try:
                return await self.tunnels.open(session_uid, target, origin)
            except NetvpsError:
                self._avoided.pop(session_uid, None)  # the tunnel is no better, so try the overlay again
                raise

        way = await self._overlay(session_uid) if isinstance(target, SshTarget) else None
        stream = await (tunnel() if way is None else self._race(session_uid, way, tunnel))
        observe_duration("gateway_dial", stream.way, time.monotonic() - began)
        return stream

    async def _overlay(self, session_uid: str) -> Route | None:
        if self._locate is None or self._avoided.get(session_uid, 0.0) > time.monotonic():
            return None
        return await self._locate(session_uid)

    async def _race(self, session_uid: str, way: Route, tunnel: Dial) -> Stream:
        def overlay() -> Awaitable[Stream]:
            return connect(way, functools.partial(self._avoid, session_uid))

        tries = [self._tasks.start(_tried(overlay), name=f"overlay to {session_uid}")]
        won: Try | None = None
        try:
            await asyncio.wait(tries, timeout=HEAD_START)
            if not _connected(tries[0]):
                tries.append(self._tasks.start(_tried(tunnel), name=f"tunnel to {session_uid}"))
            while (won := next(filter(_connected, tries), None)) is None and (
                left := [t for t in tries if not t.done()]
            ):
                await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in tries:
                if each is not won:
                    each.cancel()
                    each.add_done_callback(_discard)
        if won is not None and won is not tries[0]:
            self._avoid(session_uid)
            log.info("the tunnel won over the overlay", session=session_uid, address=way.address, error=_why(tries[0]))
        result = (won or tries[-1]).result()
        if isinstance(result, NetvpsError):
            raise result
        return result

    def _avoid(self, session_uid: str) -> None:
        """Does not use the overlay for this session for a minute."""
        now = time.monotonic()
        self._avoided.pop(session_uid, None)
        self._avoided[session_uid] = now + AVOIDED
        for oldest, until in list(itertools.islice(self._avoided.items(), 2)):
            if until <= now or len(self._avoided) > REMEMBERED:
                del self._avoided[oldest]


async def _tried(dial: Dial) -> Stream | NetvpsError:
    """The result of a dial, or its error as a value: a single failed route is not an error yet."""
    try:
        return await dial()
    except NetvpsError as error:
        return error


def _connected(tried: Try) -> bool:
    return tried.done() and not (tried.cancelled() or tried.exception() or isinstance(tried.result(), NetvpsError))


def _discard(lost: Try) -> None:
    """Closes a stream that connected at the moment when its dial was cancelled."""
    if not lost.cancelled() and not lost.exception() and not isinstance(stream := lost.result(), NetvpsError):
        stream.abort()


def _why(overlay: Try) -> str:
    failed = overlay.done() and not overlay.cancelled() and not overlay.exception()
    return str(overlay.result()) if failed else "the tunnel was faster"
