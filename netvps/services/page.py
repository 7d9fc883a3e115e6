"""Lists a page at a time: sizes, and the opaque tokens that tell where the next page begins."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from netvps.domain.access import SshKey, User
from netvps.domain.checks import Checks, shown
from netvps.domain.runner import Runner
from netvps.domain.session import Session
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.services.ports import R, Reader, Resource

T = TypeVar("T")
DEFAULT_SIZE, MAX_SIZE = 100, 1000
_MAX_TOKEN = 1024


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items, the token of the next page ('' on the last), and the global revision they were read at."""

    items: list[T]
    next_page_token: str
    revision: int


async def read_page(reader: Reader, kind: type[R], page_size: int, page_token: str, **where: str) -> Page[R]:
    """A page of a kind in natural order. Raises InvalidInput for a bad size, or a token that is not of this list."""
    scope = "&".join((kind.kind, *(f"{column}={value}" for column, value in sorted(where.items()))))
    checks, after = Checks(), ""
    checks.require(0 <= page_size <= MAX_SIZE, "page_size", f"{page_size} is not between 0 and {MAX_SIZE}")
    with checks.nested():
        after = decode_token(page_token, scope) if page_token else ""
    checks.done()
    size = page_size or DEFAULT_SIZE
    items = await reader.page(kind, after, size + 1, **where)  # one more: whether there is a next page
    token = encode_token(position(items[size - 1]), scope) if len(items) > size else ""
    return Page(items[:size], token, reader.revision)


async def read_all(reader: Reader, kind: type[R], **where: str) -> list[R]:
    """All that `Reader.find` finds, a page at a time: between pages, whoever else waits gets a turn."""
    found: list[R] = []
    while True:
        page = await reader.page(kind, position(found[-1]) if found else "", MAX_SIZE, **where)
        found += page
        if len(page) < MAX_SIZE:
            return found


def position(resource: Resource) -> str:
    """Where a resource stands in its kind's natural order, as Reader.page takes it."""
    match resource:
        case Session():
            return str(resource.full_name)
        case Runner() | User():
            return resource.name
        case SshKey():
            return resource.fingerprint
        case _:
            return resource.key


def encode_token(after: str, scope: str) -> str:
    """An opaque token for the page of list `scope` that begins after a position."""
    return base64.urlsafe_b64encode(f"{scope}\n{after}".encode()).decode().rstrip("=")


def decode_token(token: str, scope: str) -> str:
    """The position in a token. Raises InvalidInput if it is malformed, or of another list."""
    found = newline = after = ""
    if len(token) <= _MAX_TOKEN:
        with suppress(binascii.Error, UnicodeError):
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            found, newline, after = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition("\n")
    if newline and found == scope:
        return after
    raise InvalidInput.of("page_token", f"{shown(token)} is not next_page_token of this list: start without one")
