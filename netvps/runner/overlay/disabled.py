"""Null objects for a machine on the overlay without sessions: a server's, without a runner."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netvps.domain.overlay.kernel.links import Bridge
from netvps.domain.overlay.view import View
from netvps.runner.overlay.netmap_store import Known


class NoNetwork:
    """Implements runner.overlay.ports.ContainerNetwork without an engine."""

    async def ensure(self, subnet: str, bridge: Bridge) -> None:
        """Does nothing: there is no bridge."""

    async def ports(self) -> Mapping[str, str]:
        """Returns no ports."""
        return {}

    async def remove(self) -> None:
        """Does nothing."""


class NoNames:
    """Implements runner.overlay.ports.Names: there are no sessions to ask for names."""

    async def serve(self, view: View) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""


class NoNetmapStore:
    """Implements runner.overlay.netmap_store.NetmapStore: the netmap comes from the database."""

    def load(self) -> Known | None:
        """Returns None."""
        return None

    def writer(self, known: Known) -> Callable[[], None]:
        """Returns a function that does nothing."""
        return lambda: None
