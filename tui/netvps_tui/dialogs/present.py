"""Sessions that a dialog is about: anybody may remove or rename one while the dialog is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.errors import InvalidInput
from netvps_tui.commands import names_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.client import Session
    from netvps_tui.app import NetvpsApp


def present(app: NetvpsApp, session: Session) -> Session:
    """The session as it is now. Raises InvalidInput if it was removed."""
    require_present(app, [session])
    return app.live.sessions[session.uid]


def require_present(app: NetvpsApp, sessions: Sequence[Session]) -> None:
    """Raises InvalidInput if one of them was removed."""
    gone = [session for session in sessions if session.uid not in app.live.sessions]
    if gone:
        verb = "was" if len(gone) == 1 else "were"
        raise InvalidInput.of(
            "session", f"{', '.join(names_of(gone, app.me))} {verb} removed meanwhile; Esc closes this"
        )
