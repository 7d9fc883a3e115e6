"""The database finds what the domain's filter matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.session.session import Session
from netvps.domain.session_filter import SessionFilter
from tests.domain.test_session_filter import CASES, SESSIONS

if TYPE_CHECKING:
    from netvps.adapters.store import SqlStore


async def test_each_filter_finds_what_the_domain_matches(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        for one in SESSIONS:
            await transaction.put(one)
    async with store.read() as reader:
        for text, _ in CASES:
            wanted = SessionFilter.parse(text)
            found = [one.name for one in await reader.page(Session, "", 100, wanted)]
            assert found == [one.name for one in SESSIONS if wanted.matches(one)], text


async def test_a_page_ends_after_its_matches(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        for one in SESSIONS:
            await transaction.put(one)
    async with store.read() as reader:
        first = await reader.page(Session, "", 1, SessionFilter.parse("api"))
        rest = await reader.page(Session, "api.alice", 10, SessionFilter.parse("api"))
        assert [one.name for one in (*first, *rest)] == ["api", "api2"]
        assert await reader.page(Session, "", 10, SessionFilter.parse("api"), owner="bob") == rest
