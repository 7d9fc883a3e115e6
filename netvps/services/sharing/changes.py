"""Reports whose access to sessions may have changed, so that open connections are checked again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.access.accounts import SshKey, User
from netvps.domain.access.sharing import Share
from netvps.errors import TooOld
from netvps.services.feed import Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.feed import Feed
    from netvps.services.ports import Change


async def report_access_changes(feed: Feed, changed: Callable[[str], None]) -> None:
    """Calls `changed` with a user's name after each change of their keys, shares or role, until cancelled.

    With "" for everyone, if changes were lost. Raises Unavailable when the feed ends.
    """
    topics = (Topic(SshKey.kind), Topic(Share.kind), Topic(User.kind))
    while True:
        try:
            async with feed.subscribe(*topics) as news:
                async for change in news:
                    changed(_user(change))
        except TooOld:
            changed("")


def _user(change: Change) -> str:
    match change.resource:
        case SshKey(owner=user) | Share(user=user) | User(name=user):
            return user
        case _:
            return ""
