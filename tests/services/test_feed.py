from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Role, User
from netvps.domain.session.spec import SessionSpec
from netvps.errors import Exhausted, InternalError, TooOld, Unavailable
from netvps.services.feed import Feed, Topic, topics_of
from netvps.tasks import Tasks
from tests.fakes.clock import FakeClock
from tests.fakes.store import MemoryStore
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.feed import Subscription
    from netvps.services.ports import Change, Clock, Store
    from tests.fakes.world import World


async def _add(store: Store, *names: str) -> None:
    async with store.write("test") as tx:
        for name in names:
            await tx.put(User(name, Role.USER, FakeClock()()))


ANY = Topic()


async def _names(news: Subscription, count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        return [(await anext(news)).resource.key for _ in range(count)]


async def test_each_subscriber_gets_what_it_asked_for_in_order(world: World) -> None:
    async with (
        world.feed.subscribe(ANY) as all_news,
        world.feed.subscribe(ANY, match=lambda c: c.resource.key > "m") as late,
    ):
        await _add(world.store, "carol", "zoe")
        await _add(world.store, "dave", "yan")
        assert await _names(all_news, 4) == ["carol", "zoe", "dave", "yan"]
        assert await _names(late, 2) == ["zoe", "yan"]


async def test_nothing_from_before_the_subscription_comes(world: World) -> None:
    async with world.feed.subscribe(ANY) as news:
        await _add(world.store, "carol")
        await _names(news, 1)
    async with world.feed.subscribe(ANY) as news:
        await _add(world.store, "dave")
        assert await _names(news, 1) == ["dave"]


async def test_a_queue_is_bounded_by_what_users_wrote_too(world: World) -> None:
    feed = Feed(world.store, queue_text=1000)
    spec = SessionSpec(env={"A": "x" * 400})
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        async with feed.subscribe(ANY) as slow, feed.subscribe(ANY) as quick:
            for name in ("one", "two"):
                await world.session(name, spec=spec)
            await _names(slow, 2)  # what was taken makes room
            for name in ("three", "four", "five"):
                await world.session(name, spec=spec)
                await _names(quick, 1)
            await _names(quick, 2)
            with pytest.raises(TooOld, match="fell 2 changes behind"):
                await anext(slow)


async def test_a_subscriber_that_falls_behind_hears_it_and_others_do_not(world: World) -> None:
    feed = Feed(world.store, queue_length=3)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        async with feed.subscribe(ANY) as slow, feed.subscribe(ANY, match=lambda c: c.resource.key == "u4") as other:
            await _add(world.store, *(f"u{number}" for number in range(5)))
            assert await _names(other, 1) == ["u4"]
            with pytest.raises(TooOld, match="the reader fell 3 changes behind: list again"):
                await anext(slow)


async def test_waiting_may_be_cancelled_without_loss(world: World) -> None:
    async with world.feed.subscribe(ANY) as news:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(news)
        await _add(world.store, "carol")
        assert await _names(news, 1) == ["carol"]


async def test_a_subscriber_waits_for_a_feed_that_does_not_run_yet(world: World) -> None:
    feed = Feed(world.store)

    async def first() -> list[str]:
        async with feed.subscribe(ANY) as news:
            ready.set()
            return await _names(news, 1)

    ready = asyncio.Event()
    async with Tasks() as tasks:
        found = tasks.start(first(), name="subscriber")
        await _add(world.store, "carol")
        assert not ready.is_set()
        tasks.start(feed.run(), name="feed")
        await ready.wait()
        await _add(world.store, "dave")
        assert await found == ["dave"]


async def test_subscribers_hear_that_the_feed_ends(world: World) -> None:
    feed = Feed(world.store)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        async with feed.subscribe(ANY) as news:
            await tasks.cancel()
            with pytest.raises(Unavailable, match="the server is stopping"):
                await anext(news)


class _FlakyStore(MemoryStore):
    """Fails for the first few reads of its log, each time for another reason."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.failures = [Unavailable("it is away"), Exhausted("its disk is full"), InternalError("see the log")]

    async def changes(self, after: int, limit: int) -> list[Change]:
        if self.failures:
            raise self.failures.pop()
        return await super().changes(after, limit)


async def test_a_store_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.feed._FIRST_PAUSE", 0.001)
    store = _FlakyStore(FakeClock())
    feed = Feed(store)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        async with feed.subscribe(ANY) as news:
            await _add(store, "carol")
            assert await _names(news, 1) == ["carol"]
    assert store.failures == []


class _ForgetfulStore(MemoryStore):
    """Compacts its log faster than it can be read, once."""

    forgets = True

    async def changes(self, after: int, limit: int) -> list[Change]:
        if self.forgets:
            self.forgets = False
            raise TooOld("the log no longer has that")
        return await super().changes(after, limit)


async def test_a_log_that_was_compacted_under_the_feed_ends_subscriptions_and_not_the_feed() -> None:
    store = _ForgetfulStore(FakeClock())
    feed = Feed(store)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        async with feed.subscribe(ANY) as news:
            await _add(store, "carol")
            with pytest.raises(TooOld):
                await anext(news)
        async with feed.subscribe(ANY) as news:
            await _add(store, "dave")
            assert await _names(news, 1) == ["dave"]


async def test_a_change_is_offered_only_to_those_whom_it_concerns(world: World) -> None:
    asked: list[str] = []

    def note(name: str) -> Callable[[Change], bool]:
        return lambda _: not asked.append(name)  # type: ignore[func-returns-value]

    async with AsyncExitStack() as stack:
        for number in range(50):
            topic = Topic("session", "owner", f"user{number}")
            await stack.enter_async_context(world.feed.subscribe(topic, match=note(topic.value)))
        twice = (Topic("session"), Topic("session", "owner", "alice"))
        news = await stack.enter_async_context(world.feed.subscribe(*twice, match=note("all")))
        session = await world.session("dev1")
        assert await _names(news, 1) == [session.uid]
        assert asked == ["all"]
    async with world.feed.subscribe(ANY) as last:
        await world.session("dev2")
        await _names(last, 1)
    assert asked == ["all"]  # who left is not asked any more


async def test_topics_are_followed_and_left_as_one_goes(world: World) -> None:
    async with world.feed.subscribe(ANY) as all_news, world.feed.subscribe() as news:
        await world.session("dev1")
        await _names(all_news, 1)
        news.follow(Topic("session", "owner", "alice"))
        second = await world.session("dev2")
        assert await _names(news, 1) == [second.uid]
        news.unfollow(Topic("session", "owner", "alice"))
        await world.session("dev3")
        await _names(all_news, 2)
        assert len(news) == 0


async def test_what_a_change_is_about(world: World) -> None:
    runner = await world.runner()
    session = await world.session("dev1")
    assert topics_of(session) == [
        Topic(),
        Topic("session"),
        Topic("session", "key", session.uid),
        Topic("session", "owner", "alice"),
        Topic("session", "runner", runner.uid),
    ]
    assert topics_of(runner) == [Topic(), Topic("runner"), Topic("runner", "key", runner.uid)]
