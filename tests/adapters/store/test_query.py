"""The database finds what the domain's filter matches, in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.filter.kinds import RunnerFilter, SessionFilter
from netvps.domain.runner.runner import Runner
from netvps.domain.session.session import Session
from tests.domain.filter.test_kinds import CASES, ORDERS, RUNNER_CASES, RUNNERS, SESSIONS

if TYPE_CHECKING:
    from netvps.adapters.store import SqlStore


async def test_each_filter_finds_what_the_domain_matches(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        for one in SESSIONS:
            await transaction.put(one)
        for runner in RUNNERS:
            await transaction.put(runner)
    async with store.read() as reader:
        for text, _ in CASES:
            wanted = SessionFilter.parse(text)
            found = [one.name for one in await reader.page(Session, "", 100, wanted)]
            assert found == [one.name for one in SESSIONS if wanted.matches(one)], text
        for text, names in RUNNER_CASES:
            runners = await reader.page(Runner, "", 100, RunnerFilter.parse(text))
            assert [one.name for one in runners] == names.split(), text


async def test_pages_follow_each_other_in_each_order(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        for one in SESSIONS:
            await transaction.put(one)
    async with store.read() as reader:
        for order_by, names in ORDERS:
            wanted, after, found = SessionFilter.parse("", order_by), "", list[str]()
            while page := await reader.page(Session, after, 1, wanted):
                found += [one.name for one in page]
                after, wanted = str(page[-1].full_name), wanted.starting(wanted.place(page[-1]))
            assert found == names.split(), order_by


async def test_a_page_ends_after_its_matches(store: SqlStore) -> None:
    async with store.write("me") as transaction:
        for one in SESSIONS:
            await transaction.put(one)
    async with store.read() as reader:
        first = await reader.page(Session, "", 1, SessionFilter.parse("api"))
        rest = await reader.page(Session, "api.alice", 10, SessionFilter.parse("api"))
        assert [one.name for one in (*first, *rest)] == ["api", "api2"]
        assert await reader.page(Session, "", 10, SessionFilter.parse("api"), owner="bob") == rest
        also = await reader.page(Session, "", 10, SessionFilter.parse("", "name desc"), {"uid-db"}, owner="bob")
        assert [one.name for one in also] == ["db", "api2"]
