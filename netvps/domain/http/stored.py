"""Stored URLs: ports that more people may open than those who may log in, or with a name of their own; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

from netvps.domain.checks import shown
from netvps.domain.http.site import LOCAL, is_host
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection

    from netvps.domain.http.site import Site
    from netvps.domain.names import SessionName

MAX_URLS: Final = 100
"""Maximum per owner."""
MAX_URL_USERS: Final = 100
"""Maximum users that a URL names."""
LONGEST_LINK: Final = timedelta(days=30)
LINK_PREFIX: Final = "link-"


class Audience(StrEnum):
    """Who may open a URL."""

    PRIVATE = "PRIVATE"
    """Whoever may log in to the session."""
    USERS = "USERS"
    """These, and the users that it names."""
    MEMBERS = "MEMBERS"
    """Every user who is logged in."""
    PUBLIC = "PUBLIC"
    """Anyone."""
    LINK = "LINK"
    """Whoever has its link; it changes nothing for others."""


@dataclass(frozen=True, slots=True)
class StoredUrl:
    """What is stored of a port of a session."""

    kind: ClassVar[str] = "url"

    session: str
    """Uid."""
    owner: str
    """Owner of the session."""
    port: int
    audience: Audience
    create_time: datetime
    name: str = ""
    """A host of its own, or the id of a link; '': the port's host below the domain of the server."""
    users: tuple[str, ...] = ()
    expire_time: datetime | None = None
    """None: it does not end by itself, which a link does."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return url_key(self.session, self.id)

    @property
    def id(self) -> str:
        """Its id among those of its session."""
        return self.name or str(self.port)

    @property
    def own_host(self) -> str:
        """The host of its own; '' if it has none."""
        return "" if self.audience is Audience.LINK else self.name

    def has_ended(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.expire_time is not None and now >= self.expire_time

    def admits(self, user: str) -> bool:
        """Whether it lets a user in who may not log in to the session."""
        return self.audience is Audience.MEMBERS or (self.audience is Audience.USERS and user in self.users)


@dataclass(frozen=True, slots=True)
class NamedUrl:
    """A stored URL with the name that its session has now, and where it is served; '' if that is nowhere any more."""

    url: StoredUrl
    session: SessionName
    uri: str


def url_key(session: str, id_: str) -> str:
    """The primary key of a URL of a session (uid). A host of its own is one itself, so that it leads to one session."""
    return id_ if "." in id_ else f"{session}/{id_}"


def check_own_host(host: str, site: Site, reserved: Collection[str] = (), field: str = "name") -> str:
    """Returns a host (lower case, ASCII) that a session may have for its own. Raises InvalidInput.

    Not one of `reserved`, of the server's domain, or above that domain, where cookies for all of it could be set.
    """
    example = "give a full name that leads to this server, such as shop.example"
    if not is_host(host) or "." not in host or host.rpartition(".")[2].isdigit():
        raise InvalidInput.of(field, f"{shown(host)} is no name of a host, without a wildcard or a port: {example}")
    if host == site.domain or host.endswith((f".{site.domain}", f".{LOCAL}")):
        raise InvalidInput.of(field, f"{shown(host)} is a host of netvps itself, below {site.domain}: {example}")
    if host in reserved or site.domain.endswith(f".{host}"):
        raise InvalidInput.of(field, f"{shown(host)} is a name of this server, or its domain is below it: {example}")
    return host
