"""Fan-out of the change log: one reader per process, and a bounded queue per subscriber.

Otherwise each of a thousand agents and runners would read every change from the store. Subscribers are indexed by
topic, so the cost of a change depends on the number of its subscribers and not on the number of all.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple, Self

import structlog

from netvps.domain.session.session import Session
from netvps.domain.snapshot.snapshot import Snapshot
from netvps.errors import NetvpsError, TooOld, Unavailable
from netvps.services.ports import Change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from netvps.services.ports import Resource, Store

log = structlog.get_logger()

QUEUE_LENGTH = 1024
QUEUE_TEXT = 16 << 20
"""Characters of user-supplied data that may wait in one queue; one session's environment may have three million."""
_CHUNK = 500
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_BY = {
    "session": ("key", "owner", "runner"),
    "runner": ("key",),
    "ssh_key": ("owner",),
    "share": ("session", "user"),
    "user": ("key",),
    "snapshot": ("owner", "session"),
    "copy": ("runner",),
    "eviction": ("runner",),
    "task": ("array", "owner", "runner"),
}
"""Attributes by which the changes of a kind can be subscribed to."""


PROGRESS = "progress"
"""The kind of topic for progress, which is not in the log."""


class Topic(NamedTuple):
    """A subscription filter: a kind; of that kind, those with a given value of an attribute; or, by default, all."""

    kind: str = ""
    by: str = ""
    value: str = ""


def topics_of(resource: Resource) -> list[Topic]:
    """All topics that match a change of a resource."""
    kind = resource.kind
    return [Topic(), Topic(kind), *(Topic(kind, by, getattr(resource, by)) for by in _BY.get(kind, ()))]


class _Index:
    """Subscriptions by topic."""

    def __init__(self) -> None:
        self._by_topic: dict[Topic, set[Subscription]] = {}

    def add(self, topic: Topic, subscription: Subscription) -> None:
        self._by_topic.setdefault(topic, set()).add(subscription)

    def remove(self, topic: Topic, subscription: Subscription) -> None:
        subscriptions = self._by_topic.get(topic, set())
        subscriptions.discard(subscription)
        if not subscriptions:
            self._by_topic.pop(topic, None)

    def concerned(self, topics: Iterable[Topic]) -> set[Subscription]:
        """The subscriptions that match any of the topics, without duplicates."""
        return set().union(*(self._by_topic.get(topic, ()) for topic in topics))


class Subscription:
    """The changes that one subscriber asked for, in order. `anext` may be cancelled without loss."""

    def __init__(self, index: _Index, match: Callable[[Change], bool], length: int, text: int) -> None:
        self._index = index
        self._topics: set[Topic] = set()
        self._match = match
        self._length = length
        self._room = text
        self._queue: deque[tuple[Change, int]] = deque()
        self._news = asyncio.Event()
        self._error: NetvpsError | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """Raises TooOld if changes were lost, Unavailable if the feed ended."""
        while not self._queue:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        change, text = self._queue.popleft()
        self._room += text
        return change

    def __len__(self) -> int:
        """Number of queued changes."""
        return len(self._queue)

    def follow(self, topic: Topic) -> None:
        """Subscribes to another topic."""
        self._topics.add(topic)
        self._index.add(topic, self)

    def unfollow(self, topic: Topic) -> None:
        """Unsubscribes from a topic. Changes that match another subscribed topic still arrive."""
        self._topics.discard(topic)
        self._index.remove(topic, self)

    def close(self) -> None:
        """Unsubscribes from all topics."""
        for topic in self._topics:
            self._index.remove(topic, self)
        self._topics.clear()

    def offer(self, change: Change, text: int) -> None:
        """Queues a matching change with `text` characters of user data. On overflow, ends the subscription with TooOld.

        An ephemeral change that does not fit is dropped instead.
        """
        if self._error is not None or not self._match(change):
            return
        if len(self._queue) >= self._length or text > self._room:
            if change.ephemeral:
                return
            self.end(TooOld(f"the reader fell {len(self._queue)} changes behind: list again, then watch"))
            return
        self._room -= text
        self._queue.append((change, text))
        self._news.set()

    def end(self, error: NetvpsError) -> None:
        """Ends the subscription. Queued changes are dropped, because there is a gap after them."""
        self._queue.clear()
        self._error = self._error or error
        self._news.set()


class Feed:
    """Reads the log once and distributes each change to its subscribers. `run` is a task of the program."""

    def __init__(self, store: Store, queue_length: int = QUEUE_LENGTH, queue_text: int = QUEUE_TEXT) -> None:
        self._store = store
        self._queue_length = queue_length
        self._queue_text = queue_text
        self._subscriptions: set[Subscription] = set()
        self._index = _Index()
        self._started = asyncio.Event()
        self._revision = 0

    @property
    def longest_queue(self) -> int:
        """Number of changes that the slowest subscriber is behind."""
        return max(map(len, self._subscriptions), default=0)

    @asynccontextmanager
    async def subscribe(
        self, *topics: Topic, match: Callable[[Change], bool] = lambda _: True
    ) -> AsyncIterator[Subscription]:
        """Subscribes to changes that match a topic and `match`, and that are committed from now on.

        Read the store inside the block, not before it, so that no change is missed. Waits until the feed runs.
        """
        await self._started.wait()
        subscription = Subscription(self._index, match, self._queue_length, self._queue_text)
        self._subscriptions.add(subscription)
        for topic in topics:
            subscription.follow(topic)
        try:
            yield subscription
        finally:
            subscription.close()
            self._subscriptions.discard(subscription)

    def show(self, session: Session, revision: int) -> bool:
        """Offers a session with its progress, as read at a revision, to the subscribers of PROGRESS.

        Returns False if that would be out of order: before a change that it contains, or after one that it lacks. Then
        the caller reads the session and tries again.
        """
        if not session.revision <= self._revision <= revision:
            return False
        change = Change(self._revision, session, deleted=False, actor="", time=session.update_time, ephemeral=True)
        for subscription in self._index.concerned((Topic(PROGRESS), Topic(PROGRESS, "owner", session.owner))):
            subscription.offer(change, _text(change))
        return True

    async def run(self) -> None:
        """Reads until cancelled; retries a failing store with backoff."""
        pause = _FIRST_PAUSE
        try:
            while True:
                try:
                    await self._step()
                    pause = _FIRST_PAUSE
                except NetvpsError as error:
                    log.warning("cannot read the change log; retrying", error=error.message)
                    await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 — jitter
                    pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            self._started.clear()
            self._end_all(Unavailable("the server is stopping: connect again"))

    async def _step(self) -> None:
        if not self._started.is_set():
            await self._skip()
            self._started.set()
        await self._store.wait(self._revision)
        try:
            changes = await self._store.changes(self._revision, _CHUNK)
        except TooOld as error:
            await self._skip()
            self._end_all(error)
            return
        for change in changes:
            self._revision = change.revision
            text = _text(change)
            for subscription in self._index.concerned(topics_of(change.resource)):
                subscription.offer(change, text)

    async def _skip(self) -> None:
        async with self._store.read() as reader:
            self._revision = reader.revision

    def _end_all(self, error: NetvpsError) -> None:
        for subscription in self._subscriptions:
            subscription.end(error)


def _text(change: Change) -> int:
    """Number of characters in a change that a user chose, which may be many."""
    if isinstance(change.resource, Snapshot):
        return len(change.resource.description) + _size(change.resource.labels)
    if not isinstance(change.resource, Session):
        return 0
    spec = change.resource.spec
    return _size(spec.env) + _size(spec.labels) + sum(map(len, (*spec.authorized_keys, *spec.command)))


def _size(texts: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in texts.items())
