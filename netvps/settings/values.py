"""The kinds of values that settings have, each with its rule."""

from __future__ import annotations

import ipaddress
import re
import socket
from urllib.parse import urlsplit

from netvps.domain.http.site import Site
from netvps.domain.names import label_from
from netvps.domain.sleep.policy import MAX_IDLE, MIN_IDLE
from netvps.errors import InvalidInput

_HOST_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*")
_HOST_NAME_MAX = 253


def host_and_port(value: str) -> str:
    """Validates HOST:PORT, with an IPv6 host in brackets."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ValueError("give HOST:PORT, for example gateway.example:7443")
    return value


def ip_address(value: str) -> str:
    """Validates an IP address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("give an IP address of this machine, or 0.0.0.0 for all") from None
    return value


def is_host_name(text: str) -> bool:
    """Whether a text is a host name (RFC 1123): labels of letters, digits and hyphens."""
    return len(text) <= _HOST_NAME_MAX and _HOST_NAME.fullmatch(text) is not None


def joined(value: object) -> object:
    """A list, as the file may contain it, joined with commas."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def host_names(value: str) -> str:
    """Validates host names and IP addresses, separated by commas."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        try:
            ipaddress.ip_address(name)
        except ValueError:
            if not is_host_name(name) or name.rpartition(".")[2].isdigit():
                why = f"{name!r} is neither a host name nor an IP address: give for example vps.example.org"
                raise ValueError(why) from None
    return ",".join(dict.fromkeys(names))


def networks(value: str) -> str:
    """Validates addresses and networks in CIDR form, separated by commas."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    for part in parts:
        try:
            network = ipaddress.ip_network(part)
        except ValueError as error:
            raise ValueError(f"{error}: give an address or a network, for example 192.0.2.10 or 192.0.2.0/28") from None
        if not network.prefixlen:
            raise ValueError(f"{part} is every address: any client could claim another's")
    return ",".join(dict.fromkeys(parts))


def addresses(value: str) -> str:
    """Validates IP addresses, separated by commas."""
    return ",".join(dict.fromkeys(ip_address(part.strip()) for part in value.split(",") if part.strip()))


def url_of_domain(value: str) -> str:
    """Validates the URL of a domain; "" stands for this machine's."""
    try:
        return value and Site.parse(value, "").url(Site.parse(value, "").domain)
    except InvalidInput as error:
        raise ValueError(error.violations[0].description) from None


def issuer_url(value: str) -> str:
    """Validates the URL of an OIDC issuer; "" stands for none."""
    url = urlsplit(value)
    loopback = url.scheme == "http" and url.hostname in {"localhost", "127.0.0.1", "::1"}
    if value and (not url.hostname or url.query or url.fragment or (url.scheme != "https" and not loopback)):
        raise ValueError("give the https URL that the issuer calls itself, for example https://login.example.org")
    return value


def parts(value: str) -> str:
    """Removes spaces around parts that are separated by commas."""
    return ",".join(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def idle_time(value: float) -> float:
    """Validates seconds without activity."""
    if value and not MIN_IDLE <= value <= MAX_IDLE:
        raise ValueError(f"give {MIN_IDLE:g} to {MAX_IDLE:g} seconds, or 0 for never")
    return value


def own_name() -> str:
    """The host name as a DNS label."""
    return label_from(socket.gethostname().split(".")[0], "runner")


class Repeatable:
    """Marks a setting whose flag may be repeated; the values are joined with commas."""
