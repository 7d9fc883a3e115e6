"""Null objects for the overlay of a runner that runs no sessions: nothing that only sessions need."""

from __future__ import annotations

from collections.abc import Mapping

from netvps.domain.overlay.kernel.links import Bridge
from netvps.domain.overlay.view import View


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
