"""Reports whose access to sessions may have changed, so that open connections are checked again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Credential, SshKey, User
from netvps.domain.access.sharing import Share
from netvps.errors import TooOld
from netvps.services.access.tokens import API
from netvps.services.feed import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.feed import Feed
    from netvps.services.ports import Change


async def report_access_changes(feed: Feed, changed: Callable[[str], None]) -> None:
    """Calls `changed` with a user's name after each change of their keys, API keys, shares or role, until cancelled.

    With "" for everyone, if changes were lost. Raises Unavailable when the feed ends.
    """
    topics = (Topic(SshKey.kind), Topic(Credential.kind), Topic(Share.kind), Topic(User.kind))
    while True:
        try:
            async with feed.subscribe(*topics) as news:
                async for change in news:
                    if (user := _user(change)) is not None:
                        changed(user)
        except TooOld:
            changed("")


def _user(change: Change) -> str | None:
    """Whose access a change is about; None if it is about none."""
    match change.resource:
        case SshKey(owner=user) | Share(user=user) | User(name=user):
            return user
        case Credential(purpose=purpose, subject=user) if purpose == API:
            return user
    return None
