"""The hosts at which ports of sessions are served, one origin each; pure.

    8080--dev1--ann.apps.example    port 8080 of session dev1 of ann
    dev1--ann.apps.example          its main port
    login.apps.example              logins of browsers

Below "localhost", which is this machine for every browser, OWNER may be left out: it is the account of the server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from netvps.domain.checks import shown
from netvps.domain.names import SessionName
from netvps.errors import InvalidInput, WrongState

if TYPE_CHECKING:
    from collections.abc import Sequence

MAIN_PORT: Final = 8080
"""The main port of a session."""
LOGIN: Final = "login"
"""The label of the host at which browsers log in."""
LOCAL: Final = "localhost"
_SEPARATOR: Final = "--"
_LABEL_MAX: Final = 63
MAX_PORT: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_HOST_MAX: Final = 253


@dataclass(frozen=True, slots=True)
class Place:
    """A port of a session."""

    session: SessionName
    port: int


@dataclass(frozen=True, slots=True)
class Url:
    """Where a port is served."""

    place: Place
    uri: str
    """With a slash at its end."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where URLs of sessions begin, as browsers see it."""

    scheme: str
    domain: str
    port: int
    own: str = ""
    """The owner of sessions that a host names without OWNER; '' if none may be left out."""

    @classmethod
    def parse(cls, url: str, account: str) -> Site:
        """The site of "https://apps.example[:PORT]"; `account` is that of the server. Raises InvalidInput."""
        try:
            parts = urlsplit(url)
            domain, port = parts.hostname or "", parts.port
        except ValueError:
            parts, domain, port = urlsplit(""), "", None
        rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
        if parts.scheme not in _DEFAULT_PORTS or rest or not is_host(domain) or domain.rpartition(".")[2].isdigit():
            raise InvalidInput.of(
                "apps_url", f"{shown(url)} is no URL of a domain: give for example https://apps.example"
            )
        own = account if domain == LOCAL else ""
        return cls(parts.scheme, domain, port or _DEFAULT_PORTS[parts.scheme], own)

    @property
    def secure(self) -> bool:
        """Whether browsers reach it with TLS."""
        return self.scheme == "https"

    @property
    def login_host(self) -> str:
        """The host at which browsers log in."""
        return f"{LOGIN}.{self.domain}"

    def url(self, host: str) -> str:
        """The URL of a host, without a slash at its end."""
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    def place_of(self, host: str) -> Place | None:
        """What a host (lower case, without a port) leads to; None if it leads nowhere."""
        label, _, domain = host.partition(".")
        if domain != self.domain or label == LOGIN:
            return None
        parts = label.split(_SEPARATOR)
        port = MAIN_PORT
        if len(parts) > 1 and parts[0].isdigit():
            port = int(parts.pop(0)) if len(parts[0]) <= len(str(MAX_PORT)) else 0
        match parts:
            case [name, owner]:
                pass
            case [name] if self.own:
                owner = self.own
            case _:
                return None
        try:
            return Place(SessionName(owner, name), port) if 0 < port <= MAX_PORT else None
        except InvalidInput:
            return None

    def host_of(self, place: Place) -> str:
        """The host of a port. Raises WrongState if the names are such that there is none."""
        session = place.session
        parts = [session.name] if session.owner == self.own else [session.name, session.owner]
        label = _label(place.port, parts)
        if self.place_of(f"{label}.{self.domain}") != place:
            label = _label(place.port, [session.name, session.owner])
        if len(label) > _LABEL_MAX or self.place_of(f"{label}.{self.domain}") != place:
            raise WrongState(
                f"port {place.port} of {session} has no host below {self.domain}: the names have more than {_LABEL_MAX}"
                f" characters together, or contain {_SEPARATOR}; rename the session, or forward the"
                f" port with netvps forward {session} {place.port}"
            )
        return f"{label}.{self.domain}"


def is_host(text: str) -> bool:
    """Whether a text is a host name in lower case."""
    return len(text) <= _HOST_MAX and _HOST.fullmatch(text) is not None


def _label(port: int, parts: Sequence[str]) -> str:
    shown_port = [] if port == MAIN_PORT else [str(port)]
    return _SEPARATOR.join([*shown_port, *parts])
