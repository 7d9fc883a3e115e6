"""`netvps ls --watch`: the list, printed again at each change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from netvps.cli.ui.output import emit
from netvps.cli.ui.terminal import moving
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from netvps.cli.ui.follow import Pump
    from netvps.domain.session.event import SessionEvent
    from netvps.domain.session.session import Session

_SECONDS: Final = 10.0
"""Between two prints without a change, on a terminal: ages grow."""
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


class LiveList:
    """The sessions as the last event left them."""

    def __init__(self, show: Callable[[Iterable[Session]], None]) -> None:
        self._show = show
        self._sessions: dict[str, Session] = {}
        self._complete = False

    def apply(self, event: SessionEvent) -> bool:
        """Takes an event in; whether there is something new to print."""
        session = event.session
        if session is None:
            self._complete = True
        elif event.type == "DELETED":
            self._sessions.pop(session.uid, None)
        else:
            self._sessions[session.uid] = session
        return self._complete

    def print(self) -> None:
        """Prints all of them: in place on a terminal, else below the last time."""
        if sys.stdout.isatty() and moving():
            sys.stdout.write(_CLEAR)
        self._show(self._sessions.values())
        if not sys.stdout.isatty():
            emit("")
        sys.stdout.flush()

    def follow(self, pump: Pump) -> None:
        """Until Ctrl-C. Changes that come together are printed once."""
        while True:
            event = pump.next(_SECONDS)
            new = event is not None and self.apply(event)
            try:
                while (further := pump.next(0.0)) is not None:
                    new = self.apply(further) or new
            except NetvpsError:
                if new:
                    self.print()
                raise
            if new or (event is None and sys.stdout.isatty()):
                self.print()
