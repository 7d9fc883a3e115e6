"""Which sessions the list shows, in which order; kept up to date change by change."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Any, Final

from netvps.client import SessionFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from netvps.client import Session

ORDERS: Final[dict[str, Callable[[Session], tuple[Any, ...]]]] = {
    "name": lambda session: (session.name, session.owner),
    "state": lambda session: (session.state.value, session.name, session.owner),
    "age": lambda session: (-session.create_time.timestamp(), session.name),
    "runner": lambda session: (session.runner_name, session.name, session.owner),
}
_MANY: Final = 500
"""Changes that are sorted in one by one; more are sorted together."""


class Rows:
    """Uids of the sessions that match, in order."""

    def __init__(self) -> None:
        self.uids: list[str] = []
        """Another list after each change of its order or content."""
        self.order = "name"
        self.matching = SessionFilter()
        self._places: dict[str, tuple[Any, ...]] = {}
        self._sorted: list[tuple[Any, ...]] = []

    def arrange(self, sessions: Mapping[str, Session]) -> None:
        """Filters and sorts all of them."""
        self._places = {uid: place for uid in sessions if (place := self._place(sessions, uid)) is not None}
        self._sorted = sorted(self._places.values())
        self.uids = [place[-1] for place in self._sorted]

    def take(self, sessions: Mapping[str, Session], changed: Collection[str]) -> None:
        """Takes in what changed, came or went."""
        places = {uid: self._place(sessions, uid) for uid in changed}
        moved = {uid: place for uid, place in places.items() if place != self._places.get(uid)}
        if not moved:
            return
        if len(moved) > _MANY:
            self.arrange(sessions)
            return
        for uid, place in moved.items():
            if (old := self._places.pop(uid, None)) is not None:
                del self._sorted[bisect_left(self._sorted, old)]
            if place is not None:
                self._places[uid] = place
                insort(self._sorted, place)
        self.uids = [place[-1] for place in self._sorted]

    def _place(self, sessions: Mapping[str, Session], uid: str) -> tuple[Any, ...] | None:
        session = sessions.get(uid)
        if session is None or not self.matching.matches(session):
            return None
        return (*ORDERS[self.order](session), uid)
