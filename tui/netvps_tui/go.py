"""`:` goes to anything: pages, sessions, and the actions of the page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Provider

from netvps_tui.commands import called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from textual.command import Hits

    from netvps_tui.app import NetvpsApp

_MOST = 30
"""Sessions that match."""


class Go(Provider):
    """What the palette finds."""

    @property
    def _tui(self) -> NetvpsApp:
        return cast("NetvpsApp", self.app)

    def _fixed(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        for name in ("sessions", "runners", "network", "events", "people"):
            yield name, "page", partial(self.app.call_later, self._tui.action_go, name)
        for active in self.screen.active_bindings.values():
            binding = active.binding
            # Textual's own begin with a capital
            if binding.description[:1].islower() and active.enabled and active.node is self.screen:
                yield (
                    binding.description,
                    f"key {binding.key_display or binding.key}",
                    partial(self.screen.run_action, binding.action),
                )

    async def discover(self) -> Hits:
        """What is shown before anything is typed."""
        for name, kind, act in self._fixed():
            yield DiscoveryHit(name, act, help=kind)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for name, kind, act in self._fixed():
            if score := matcher.match(name):
                yield Hit(score, matcher.highlight(name), act, help=kind)
        found = 0
        for session in list(self._tui.live.sessions.values()):
            name = called(session, self._tui.me)
            if query.lower() in name and (score := matcher.match(name)):
                yield Hit(
                    score,
                    matcher.highlight(name),
                    partial(self._tui.look_at, session),
                    help=f"session, {session.state.lower()}",
                )
                found += 1
                if found == _MOST:
                    return
