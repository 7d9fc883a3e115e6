"""The gateway's own cookie: one per host, which no app sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.services.http.visits import LOGIN_TIME

if TYPE_CHECKING:
    from netvps.domain.http.site import Site
    from netvps.gateway.http.head import RequestHead

_NAME: Final = "netvps"


def cookie_name(site: Site) -> str:
    """The name of cookies. The prefix, with which browsers guard it, needs TLS."""
    return f"__Host-{_NAME}" if site.secure else _NAME


def cookie_header(site: Site, value: str) -> tuple[str, str]:
    """Sets the cookie of a host; '' removes it."""
    age = int(LOGIN_TIME.total_seconds()) if value else 0
    secure = "; Secure" if site.secure else ""
    return "Set-Cookie", f"{cookie_name(site)}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}"


def cookie_of(head: RequestHead, name: str) -> str:
    """The value of a cookie; '' if there is none."""
    for each in head.get(b"cookie").replace(",", ";").split(";"):
        key, _, value = each.strip().partition("=")
        if key == name:
            return value.strip('"')
    return ""


def without_cookie(head: RequestHead, name: str) -> bytes:
    """The header Cookie without one cookie; b"" if that was all."""
    found = [value for each, value in head.headers if each == b"cookie"]
    own = name.encode()
    pairs = [pair.strip() for value in found for pair in value.split(b";")]
    return b"; ".join(pair for pair in pairs if pair and pair.partition(b"=")[0].strip() != own)
