"""Answers of the gateway itself: pages for people, lines of text for programs."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netvps.gateway.http.head import RequestHead

    Headers = tuple[tuple[str, str], ...]

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:40em;margin:12vh auto;padding:0 1em;color:#222;background:#fff}"
    "h1{font-size:1.4em}code,input{font:inherit}input{width:100%;box-sizing:border-box;padding:.4em}"
    "button{font:inherit;margin-top:.6em;padding:.3em 1.2em}small{color:#666}"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}small{color:#999}}"
)
_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action {forms}; base-uri 'none'; frame-ancestors 'none'"
)
_GUARDS: Final = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Connection", "close"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. `status` and `content` are those of HTTP."""

    status: int
    content: bytes = b""
    headers: Headers = ()

    def encode(self, *, without_body: bool = False) -> bytes:
        """As bytes for the connection."""
        phrase = HTTPStatus(self.status).phrase
        headers = (*self.headers, *_GUARDS, ("Content-Length", str(len(self.content))))
        lines = [f"HTTP/1.1 {self.status} {phrase}", *(f"{name}: {value}" for name, value in headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if without_body else self.content)


def is_navigation(head: RequestHead) -> bool:
    """Whether a person waits for the page, in a browser."""
    if head.method != "GET" or head.upgrade:
        return False
    if mode := head.get(b"sec-fetch-mode"):
        return mode == "navigate"
    return "text/html" in head.get(b"accept")


def explained(head: RequestHead | None, status: int, title: str, text: str, headers: Headers = ()) -> Answer:
    """Why there is no other answer: as a page for a person, as a line for a program."""
    if head is not None and is_navigation(head):
        return page(status, title, f"<p>{escape(text)}</p>", headers)
    return Answer(status, f"{title}: {text}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"), *headers))


def page(
    status: int, title: str, body: str, headers: Headers = (), *, refresh: int = 0, forms: str = "'none'"
) -> Answer:
    """An HTML page. `body` is HTML; with `refresh` the browser asks again after that many seconds."""
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    content = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{again}'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{escape(title)}</h1>{body}<p><small>netvps</small></p></body></html>\n"
    )
    policy = ("Content-Security-Policy", _POLICY.format(forms=forms))
    return Answer(status, content.encode(), (("Content-Type", "text/html; charset=utf-8"), policy, *headers))


def redirect(location: str, headers: Headers = ()) -> Answer:
    """Leads a browser to another URL, by GET."""
    return Answer(303, b"", (("Location", location), *headers))
