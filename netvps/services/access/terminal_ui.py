"""The terminal UI over SSH: what a login to it is authorised as, and the credentials of its processes."""

from __future__ import annotations

import secrets
from typing import Final

from netvps.errors import Exhausted, Unauthenticated

TERMINAL_UI: Final = "terminal-ui"
"""Stands for a session's uid and name in the grant of a login without a session. No session has this uid."""
TOKEN_PREFIX: Final = "nvt_"  # noqa: S105 — no secret
_MAX_TOKENS: Final = 1024


class UiTokens:
    """Credentials of processes that show the terminal UI, each for one user, in memory.

    They end with the server, as do all processes that hold one.
    """

    def __init__(self) -> None:
        self._users: dict[str, str] = {}

    def mint(self, user: str) -> str:
        """A new token for a user. Raises Exhausted."""
        if len(self._users) >= _MAX_TOKENS:
            raise Exhausted(f"{_MAX_TOKENS} terminal UIs are open already: close some")
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        self._users[token] = user
        return token

    def revoke(self, token: str) -> None:
        """Ends a token. Idempotent."""
        self._users.pop(token, None)

    def user_of(self, token: str) -> str:
        """The user of a token. Raises Unauthenticated if it ended or never existed."""
        user = self._users.get(token)
        if user is None:
            raise Unauthenticated("this terminal UI has ended: connect again", reason="UI_ENDED")
        return user
