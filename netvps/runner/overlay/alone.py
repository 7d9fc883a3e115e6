"""What there is none of on a machine that is on the overlay, and runs no sessions: a server's, without a runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netvps.domain.overlay.links import Bridge
from netvps.domain.overlay.view import View
from netvps.runner.overlay.memory import Known


class NoNetwork:
    """Fulfils runner.overlay.ports.ContainerNetwork: there need not even be an engine."""

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        """Nobody asks for it: there is no bridge."""

    async def ports(self) -> Mapping[str, str]:
        """None."""
        return {}

    async def remove(self) -> None:
        """It was never there."""


class NoNames:
    """Fulfils runner.overlay.ports.Names: nobody here asks for any."""

    async def serve(self, view: View) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""


class NoMemory:
    """Fulfils runner.overlay.memory.Memory: nothing is done before the database has told the netmap."""

    def load(self) -> Known | None:
        """Nothing was kept."""
        return None

    def writer(self, known: Known) -> Callable[[], None]:
        """Keeps nothing."""
        return lambda: None
