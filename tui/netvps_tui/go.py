"""`:` goes to anything: pages, sessions, and the actions of the page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Provider
from textual.content import Content

from netvps_tui.commands import called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from textual.command import Hits

    from netvps_tui.app import NetvpsApp

_MOST = 30
"""Sessions that match."""
_NAMES = 36
"""Cells of the column of names."""


class Go(Provider):
    """What the palette finds."""

    @property
    def _tui(self) -> NetvpsApp:
        return cast("NetvpsApp", self.app)

    @staticmethod
    def _line(name: Content, kind: str) -> Content:
        """One line: the name, and what it is."""
        return Content.assemble(name, " " * max(2, _NAMES - name.cell_length), (kind, "$muted not bold"))

    def _fixed(self) -> Iterator[tuple[str, str, Callable[[], Any]]]:
        for name in ("sessions", "runners", "network", "events", "people", "images"):
            yield name, "page", partial(self.app.call_later, self._tui.action_go, name)
        for active in self.screen.active_bindings.values():
            binding = active.binding
            # Textual's own begin with a capital
            listed = binding.description[:1].islower() and binding.key != "escape"
            if listed and active.enabled and active.node is self.screen:
                yield (
                    binding.description,
                    f"key {binding.key_display or binding.key}",
                    partial(self.screen.run_action, binding.action),
                )

    async def discover(self) -> Hits:
        """What is shown before anything is typed."""
        for name, kind, act in self._fixed():
            yield DiscoveryHit(self._line(Content(name), kind), act, name)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for name, kind, act in self._fixed():
            if score := matcher.match(name):
                yield Hit(score, self._line(matcher.highlight(name), kind), act, name)
        found = 0
        for session in list(self._tui.live.sessions.values()):
            name = called(session, self._tui.me)
            if query.lower() in name and (score := matcher.match(name)):
                line = self._line(matcher.highlight(name), f"session, {session.state.lower()}")
                yield Hit(score, line, partial(self._tui.look_at, session), name)
                found += 1
                if found == _MOST:
                    return


def palette() -> CommandPalette:
    """The dialog in which one types where to go."""
    return CommandPalette(placeholder="a page, a session, an action …", id="--command-palette")
