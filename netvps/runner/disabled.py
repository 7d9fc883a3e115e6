"""The null object of a runner that runs no sessions: it needs no container engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime

from netvps.domain.runner.runner import Capacity
from netvps.errors import NotFound


class NoEngine:
    """Implements runner.ports.Machine without an engine."""

    async def capacity(self) -> Capacity:
        """Returns no capacity for sessions."""
        return Capacity()

    async def owned(self) -> frozenset[str]:
        """Returns no sessions."""
        return frozenset()

    async def mounted(self) -> frozenset[str]:
        """Returns no paths."""
        return frozenset()

    async def watch(self, changed: Callable[[str], None]) -> None:
        """Never returns."""
        await asyncio.Event().wait()

    def logs(
        self, session_uid: str, tail_lines: int, *, follow: bool, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Raises NotFound."""
        raise NotFound(f"session {session_uid} is not on this runner, which runs no sessions")
