"""The terminal UI as connections use it: limits the viewers, and makes the session of each channel."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from netvps.gateway.tui.session import Services, UiSession

if TYPE_CHECKING:
    from asyncssh import SSHServerChannel

    from netvps.gateway.ssh.agent_login import AgentLogin
    from netvps.gateway.tui.apps import TerminalApps
    from netvps.gateway.tui.session import Login, Tokens
    from netvps.gateway.tunnel.dialer import Dialer
    from netvps.tasks import Tasks

VIEWERS: Final = 100
"""Maximum terminal UIs: each may have a process of 40 MB beyond what they share."""
VIEWERS_PER_USER: Final = 8
CHANNELS: Final = 4
"""Maximum channels that one connection opens, one after the other; only the first shows the UI."""
REVIEW_SECONDS: Final = 3.0
"""Interval at which access is checked again, so that a viewer whose key was removed is out within seconds."""
LOGIN: Final = "tui"
"""The login name that the documents recommend; any that is no session of the user's does."""


class TerminalUi:
    """Shows the terminal UI to connections."""

    def __init__(
        self, apps: TerminalApps, tokens: Tokens, dialer: Dialer, agent_login: AgentLogin, tasks: Tasks
    ) -> None:
        self._services = Services(apps, tokens, dialer, agent_login, tasks, self)
        self._viewers: Counter[str] = Counter()

    def enter(self, user: str) -> str | None:
        """Counts a viewer; or why one more is not admitted."""
        if self._viewers[user] >= VIEWERS_PER_USER:
            return f"you have {VIEWERS_PER_USER} terminal UIs open already: close some"
        if self._viewers.total() >= VIEWERS:
            return f"{VIEWERS} terminal UIs are open already: try again later, or use the netvps command"
        self._viewers[user] += 1
        return None

    def leave(self, user: str) -> None:
        """Ends what `enter` counted."""
        self._viewers[user] -= 1
        if not self._viewers[user]:
            del self._viewers[user]

    def session(self, login: Login, channel: SSHServerChannel[bytes]) -> UiSession:
        """The session of a new channel."""
        return UiSession(login, channel, self._services)
