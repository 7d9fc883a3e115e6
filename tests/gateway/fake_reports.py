"""Whoever takes the reports of agents, and serves what is asked for in their sessions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from netvps.domain.tunnel import SelfServiceKind
from netvps.errors import WrongState

if TYPE_CHECKING:
    from netvps.domain.tunnel import Activity, SelfService


class FakeReports:
    """Remembers what agents report, and answers what they ask with what was asked."""

    def __init__(self) -> None:
        self.connections: list[tuple[str, bool]] = []
        self.activity: list[Activity] = []
        self.streams: list[int] = []
        self.ready = asyncio.Event()
        self.ready.set()

    def connected(self, session_uid: str) -> None:
        self.connections.append((session_uid, True))

    def report(self, session_uid: str, activity: Activity) -> None:
        self.activity.append(activity)

    def served(self, session_uid: str, streams: int) -> None:
        self.streams.append(streams)

    def disconnected(self, session_uid: str) -> None:
        self.connections.append((session_uid, False))

    async def serve(self, session_uid: str, epoch: int, request: SelfService) -> str:
        await self.ready.wait()
        if request.kind is SelfServiceKind.SLEEP:
            raise WrongState("it is moving")
        return f"{request.kind} of {session_uid}/{epoch}"
