"""Pagination of lists: page sizes, and opaque tokens for the start of the next page."""

from __future__ import annotations

import base64
import binascii
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from netvps.domain.access.accounts import SshKey, User
from netvps.domain.access.sharing import Share
from netvps.domain.checks import Checks, shown
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session
from netvps.domain.snapshot.snapshot import Snapshot
from netvps.domain.task.task import Task
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection

    from netvps.domain.filter.kinds import Filter
    from netvps.services.ports import R, Reader, Resource, Wanted

T = TypeVar("T")
DEFAULT_SIZE, MAX_SIZE = 100, 1000
_MAX_TOKEN = 2048
_DIGEST = 16
"""Hexadecimal digits of the digest of a filter in a token."""
MAX_BYTES = 1 << 20
"""Maximum bytes of the items on a page: a quarter of the message size that clients accept."""
_READ = 250
"""Maximum rows per read: sessions are read with their environment, which lists do not return."""
_ITEM_BYTES, _FIELD_BYTES = 1024, 10
"""Upper bounds for a resource's fixed fields, and for the overhead of a text."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Items, the token of the next page ('' on the last), and the global revision of the read."""

    items: list[T]
    next_page_token: str
    revision: int


async def read_page(  # noqa: PLR0917 — the rest are columns
    reader: Reader,
    kind: type[R],
    page_size: int,
    page_token: str,
    matching: Filter[R] | None = None,
    also: Collection[str] = (),
    /,
    **where: Wanted,
) -> Page[R]:
    """Reads a page of a kind, in natural order or that of `matching`.

    Raises InvalidInput for a bad size, or a token of another list or filter. A token holds with any keys in `also`.
    """
    scope = "&".join((kind.kind, *(f"{column}={value}" for column, value in sorted(where.items()))))
    if matching is not None and matching.text:
        scope += f"&{hashlib.sha256(matching.text.encode()).hexdigest()[:_DIGEST]}"
    checks, after = Checks(), ""
    checks.require(0 <= page_size <= MAX_SIZE, "page_size", f"{page_size} is not between 0 and {MAX_SIZE}")
    with checks.nested():
        after = decode_token(page_token, scope) if page_token else ""
    if matching is not None and after:
        *values, after = after.split("\n")
        right = len(values) == len(matching.order.keys)
        checks.require(right, "page_token", f"{shown(page_token)} is no next_page_token of this order")
        matching = matching.starting(tuple(values))
    checks.done()
    size, room = page_size or DEFAULT_SIZE, MAX_BYTES
    items: list[R] = []
    while True:
        limit = min(_READ, size + 1 - len(items))  # one more, to know whether there is a next page
        found = await reader.page(kind, after, limit, matching, also, **where)
        for item in found:
            room -= listed_bytes(item)
            if len(items) == size or (items and room < 0):
                place = matching.place(items[-1]) if matching is not None else ()
                return Page(items, encode_token("\n".join((*place, position(items[-1]))), scope), reader.revision)
            items.append(item)
        if len(found) < limit:
            return Page(items, "", reader.revision)
        after = position(items[-1])
        matching = matching.starting(matching.place(items[-1])) if matching is not None else None


async def read_all(reader: Reader, kind: type[R], also: Collection[str] = (), /, **where: Wanted) -> list[R]:
    """All results of `Reader.find`, read page by page so that other tasks run in between."""
    found: list[R] = []
    while True:
        page = await reader.page(kind, position(found[-1]) if found else "", MAX_SIZE, None, also, **where)
        found += page
        if len(page) < MAX_SIZE:
            return found


def listed_bytes(resource: Resource) -> int:
    """Upper bound of a resource's size in a list, where sessions have no environment and no keys."""
    texts: tuple[str, ...] = ()
    match resource:
        case Session():
            spec, snapshot, last = resource.spec, resource.snapshot, resource.last_exit
            texts = (resource.message, resource.reason, resource.address, resource.overlay_address, spec.image)
            texts += (*spec.labels, *spec.labels.values(), spec.runner_filter)
            if snapshot is not None:
                texts += (snapshot.uid, snapshot.session_uid, snapshot.image, snapshot.digest)
            texts += (last.cause,) if last is not None else ()
            texts += (resource.restore.message,) if resource.restore is not None else ()
            texts += (resource.source.name,) if resource.source is not None else ()
        case Snapshot():
            texts = (resource.message, resource.description, *resource.labels, *resource.labels.values())
            texts += resource.warnings
            for holder in resource.holders:
                texts += (holder.name,) * (1 + holder.damaged + holder.leaving)
        case Task():
            texts = (resource.message, resource.spec.image, resource.spec.runner_filter, *resource.job.command)
        case Runner():
            texts = (resource.version, resource.capacity.engine_version, *resource.labels)
            texts += tuple(text for problem in resource.problems for text in (problem.message, problem.peer))
        case SshKey():
            texts = (resource.public_key, resource.title)
    return _ITEM_BYTES + sum(_FIELD_BYTES + (len(text) if text.isascii() else 4 * len(text)) for text in texts)


def position(resource: Resource) -> str:
    """The position of a resource in its kind's natural order, for Reader.page."""
    match resource:
        case Session():
            return str(resource.full_name)
        case Snapshot():
            return f"{resource.session}.{resource.id}"
        case Share():
            return f"{resource.session}.{resource.user}"
        case Runner() | User():
            return resource.name
        case SshKey():
            return resource.fingerprint
        case _:
            return resource.key


def encode_token(after: str, scope: str) -> str:
    """An opaque token for the page of list `scope` that starts after a position."""
    return base64.urlsafe_b64encode(f"{scope}\n{after}".encode()).decode().rstrip("=")


def decode_token(token: str, scope: str) -> str:
    """The position in a token. Raises InvalidInput if it is malformed or of another list."""
    found = newline = after = ""
    if len(token) <= _MAX_TOKEN:
        with suppress(binascii.Error, UnicodeError):
            padded = token.encode("ascii") + b"=" * (-len(token) % 4)
            found, newline, after = base64.b64decode(padded, altchars=b"-_", validate=True).decode().partition("\n")
    if newline and found == scope and "\0" not in after:
        return after
    raise InvalidInput.of("page_token", f"{shown(token)} is no next_page_token of this list: start without one")
