"""The part of the fake server that is about URLs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from netvps.domain.http.site import MAIN_PORT, Place, Url
from netvps.domain.http.stored import Audience, NamedUrl, StoredUrl
from netvps.domain.names import SessionName

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class FakeUrls:
    """Of alice's sessions."""

    urls: list[NamedUrl] = field(default_factory=list)

    def _ask(self, method: str, *arguments: Any) -> None:
        raise NotImplementedError

    def get_url(self, session: str, port: int | None = None) -> Url:
        self._ask("get_url", session, port)
        place = Place(SessionName("alice", session), port or MAIN_PORT)
        return Url(place, f"http://{f'{port}--' if port else ''}{session}.localhost:7481/")

    def create_url_login(self, session: str, port: int | None = None) -> str:
        return f"{self.get_url(session, port).uri}.netvps/enter?code=secret"

    def list_urls(self, session: str = "") -> Iterator[NamedUrl]:
        self._ask("list_urls", session)
        return iter(self.urls)

    def put_url(self, session: str, port: int, audience: Audience, **given: Any) -> NamedUrl:
        self._ask("put_url", session, port, audience, given)
        host = given["host"] or f"{port}--{session}.localhost"
        url = StoredUrl("", "alice", port, audience, NOW, given["host"], given["users"], given["expire_time"])
        return NamedUrl(url, SessionName("alice", session), f"http://{host}:7481/")

    def delete_url(self, session: str, url: str) -> NamedUrl:
        self._ask("delete_url", session, url)
        return NamedUrl(StoredUrl("", "alice", 80, Audience.PUBLIC, NOW, name=url), SessionName("alice", session), "")

    def create_url_link(self, session: str, expire_time: datetime, port: int | None = None) -> tuple[NamedUrl, str]:
        self._ask("create_url_link", session, port)
        link = StoredUrl("", "alice", port or MAIN_PORT, Audience.LINK, NOW, "link-1", expire_time=expire_time)
        return NamedUrl(link, SessionName("alice", session), ""), "http://secret"
