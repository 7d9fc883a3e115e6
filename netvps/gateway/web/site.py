"""Where the pages are: the addresses by which browsers may reach them, and the source address of a request.

A browser sends the name that the person typed (Host) and the page that a request comes from (Origin). Names that are
not ours are refused: a page elsewhere can point a name of its own at this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]")
_LONGEST_URL: Final = 512


@dataclass(frozen=True, slots=True)
class Site:
    """What is served, and to whom it is known as what."""

    url: str
    """Of the first page, with a slash at its end; for people."""
    origins: frozenset[str]
    """Scheme, host and port, as browsers send them."""
    proxies: frozenset[str]
    """Addresses whose X-Forwarded-For counts."""

    @property
    def path(self) -> str:
        """The path before all others, "/" without one."""
        return urlsplit(self.url).path

    def knows_host(self, host: str) -> bool:
        """Whether the Host header is one of ours."""
        return any(host.lower() == origin.partition("://")[2] for origin in self.origins)

    def knows_origin(self, origin: str | None) -> bool:
        """Whether the Origin header is one of ours; a request that changes something has to have one."""
        return origin is not None and origin.lower() in self.origins

    def source(self, peer: str, forwarded: Iterable[str]) -> str:
        """The address that a request comes from: the peer, or what listed proxies say about it.

        `forwarded` are the X-Forwarded-For headers. Each proxy adds at the end; what stands before the first address
        that is no proxy's is the client's own claim.
        """
        for address in reversed([each.strip() for line in forwarded for each in line.split(",")]):
            if peer not in self.proxies:
                break
            peer = address
        return peer


def site(host: str, port: int, *, tls: bool, public_url: str = "", proxies: Iterable[str] = ()) -> Site:
    """The site of a listener. Raises ConfigError for what would be unsafe, with the way to do it."""
    loopback = is_loopback(host)
    if not loopback and not (tls and public_url):
        raise ConfigError(
            f"--listen {host}: other machines reach it only with TLS: give --tls-cert, --tls-key and --public-url"
            " https://NAME:PORT, or listen on 127.0.0.1 behind a proxy that has TLS, and give its --public-url"
        )
    scheme = "https" if tls else "http"
    names = _LOOPBACK_NAMES if loopback else ()
    origins = {_origin(scheme, name, port) for name in names}
    url = f"{_origin(scheme, f'[{host}]' if ':' in host else host, port)}/"
    if public_url:
        url, origin = _public(public_url)
        origins.add(origin)
    return Site(url, frozenset(origins), frozenset(_proxy(each) for each in proxies))


def listen_address(text: str) -> tuple[str, int]:
    """IP address and port of "HOST:PORT"; an IPv6 address is in brackets. Raises ConfigError."""
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    bare = host[1:-1] if host[:1] + host[-1:] == "[]" else "" if ":" in host else host
    try:
        address = str(ipaddress.ip_address(bare))
    except ValueError:
        address = ""
    if not address or not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise ConfigError(f"--listen: {text!r} is no IP address with a port: give for example 127.0.0.1:7490")
    return address, int(port)


def is_loopback(host: str) -> bool:
    """Whether an IP address is one of this machine only."""
    return ipaddress.ip_address(host).is_loopback


def _public(text: str) -> tuple[str, str]:
    """The URL with a slash at its end, and its origin."""
    try:
        parts = urlsplit(text)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        parts, name, port = urlsplit(""), "", None
    rest = parts.query or parts.fragment or parts.username or parts.password
    if not name or rest or len(text) > _LONGEST_URL or not text.isascii() or not text.isprintable():
        raise ConfigError(f"--public-url: {text!r} is no URL of a site: give for example https://vps.example.org/")
    if parts.scheme != "https":
        raise ConfigError(f"--public-url: {text!r} is not https, and a key must not cross a network in the open")
    host = f"[{name}]" if ":" in name else name
    origin = _origin(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme])
    return f"{origin}{parts.path.rstrip('/')}/", origin


def _origin(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS[scheme] else f"{scheme}://{host}:{port}"


def _proxy(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError(
            f"--trusted-proxy: {text!r} is no IP address: give the proxy's, for example 127.0.0.1"
        ) from None
