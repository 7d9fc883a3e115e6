"""A pool: keeps COUNT sessions running, and replaces each that fails, is stopped or is removed. Ends with Ctrl-C.

    python3 examples/pool.py workers 3

It keeps no state: which sessions are its own, their label says. So it may be ended and started again at any time. It
leases a session before it removes it, and leaves one alone that another program has leased.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import suppress

from server import endpoint

from netvps.client import AsyncClient, Session, SessionEvent, SessionSpec, SessionState
from netvps.errors import NetvpsError

_OVER = {SessionState.FAILED, SessionState.STOPPED}


class Pool:
    """The sessions of a pool, as the last events had them."""

    def __init__(self, client: AsyncClient, name: str, count: int) -> None:
        self._client, self._name, self._count = client, name, count
        self._holder = f"pool {name} {socket.gethostname()} {os.getpid()}"
        self._known: dict[str, Session] = {}

    async def run(self) -> None:
        """Follows changes, over breaks and restarts of the server, and acts after each."""
        listed = False
        async for event in self._client.watch("", attempts=None):
            if not isinstance(event, SessionEvent):
                listed = False  # interrupted, or it begins again: act once what is known is complete
                continue
            listed = listed or event.session is None  # the end of the list, or of what was missed
            if event.session is not None and event.session.spec.labels.get("pool") == self._name:
                self._note(event)
            if listed:
                await self._act()

    def _note(self, event: SessionEvent) -> None:
        session = event.session
        before = self._known.get(session.uid)
        if event.type == "DELETED":
            self._known.pop(session.uid, None)
        elif before is None or before.revision <= session.revision:  # an event may be older than the answer to a call
            self._known[session.uid] = session
        if before is None or before.state != session.state:
            print(session.name, session.state, flush=True)

    async def _act(self) -> None:
        """Makes what is missing, and removes what is over."""
        for session in [one for one in self._known.values() if one.state in _OVER and one.desired != "DELETED"]:
            with suppress(NetvpsError):  # another program has leased it, or it is gone: a later event says so
                lease = (await self._client.acquire_lease(session.name, self._holder, ttl=30)).lease
                removed = await self._client.with_lease(lease.epoch).delete_session(session.name)
                self._known[session.uid] = removed
        alive = [one for one in self._known.values() if one.state not in _OVER and one.desired != "DELETED"]
        for _ in range(self._count - len(alive)):
            made = await self._client.create_session("", SessionSpec(labels={"pool": self._name}))
            self._known[made.uid] = made


async def main(name: str, count: int) -> None:
    """Keeps the pool until it is interrupted."""
    async with AsyncClient(endpoint()) as client:
        await Pool(client, name, count).run()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], int(sys.argv[2])))
