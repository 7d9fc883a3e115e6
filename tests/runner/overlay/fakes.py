"""What the overlay stands on, faked: each notes what it was given (netvps.runner.overlay.ports)."""

from __future__ import annotations

from netvps.domain.overlay.view import View


class FakeFilter:
    """A packet filter that can be flushed by others."""

    def __init__(self) -> None:
        self.views: list[View] = []
        self.there = False

    async def load(self, view: View) -> None:
        if not self.there or self.views[-1:] != [view]:
            self.views.append(view)
        self.there = True

    async def loaded(self) -> bool:
        return self.there

    async def remove(self) -> None:
        self.there = False


class FakeNames:
    """A DNS server."""

    def __init__(self) -> None:
        self.views: list[View] = []

    async def serve(self, view: View) -> None:
        self.views.append(view)

    async def close(self) -> None:
        self.views.clear()
