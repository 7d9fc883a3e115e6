"""Distributes the netmap: one reader of the log encodes each update once, and all runners are sent the same bytes.

    log ──► members ──► a delta for each window of changes ──► ring ──► a follower for each runner
                                                                └─────► the full map, if the ring no longer reaches back

There are no queues per runner. A follower knows the generation that its runner was sent, and takes the next delta when
the runner is ready; a slow one takes it later, or gets the full map. A generation is a revision of the log, so a runner
may continue from another server of the cluster, whose windows were different.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.domain.overlay.membership import MembershipIndex, mentioned
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Touched, in_parts, whole
from netvps.domain.runner.runner import Lease, Runner
from netvps.domain.session.session import Session
from netvps.errors import TooOld, Unavailable
from netvps.services.feed import Topic
from netvps.services.network.netmap_ring import NetmapDelta, Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.overlay.settings import OverlaySettings
    from netvps.services.feed import Feed, Subscription
    from netvps.services.ports import Change, Reader, Store

log = structlog.get_logger()

_KINDS: Final = (Runner.kind, Lease.kind, Session.kind)
WINDOW: Final = 0.05
"""Seconds over which changes are batched."""
PART: Final = 1500
"""Maximum entries in a message. An entry is at most 700 bytes, so a message is at most 1 MiB."""
_PAGE: Final = 500
_REMEMBERED: Final = 2000
"""Revisions from before the start that a runner may resume from: more than a restart of the whole cluster causes."""
_QUIET: Final = 500
"""Revisions without a change of the netmap after which runners get an empty update, so that they can resume later."""
_PAUSE: Final = 0.5
_AHEAD: Final = 5.0
"""Seconds to wait for this server to reach the generation that a runner got from another server."""
_AGAIN: Final = 30.0
"""Minimum seconds before a runner with a wrong map is sent the full map again; doubles each time."""


class NetmapHub:
    """Maintains the netmap and its updates. `run` is a task of the program."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        overlay_settings: OverlaySettings,
        encode: Callable[[NetmapUpdate], bytes],
        *,
        window: float = WINDOW,
        part: int = PART,
        ring: Callable[[], Ring] = Ring,
    ) -> None:
        """`encode` serialises an update; `window` is in seconds, `part` in entries."""
        self._store, self._feed, self._overlay_settings = store, feed, overlay_settings
        self._encode, self._window, self._part, self._new_ring = encode, window, part, ring
        self._members, self._netmap = MembershipIndex(overlay_settings), Netmap()
        self._revision = 0
        self.ring = ring()
        self._loaded, self._news = asyncio.Event(), asyncio.Event()
        self._whole = NetmapDelta(0, 0, "")
        self._copying = asyncio.Lock()

    @property
    def netmap(self) -> Netmap:
        """The netmap as of the last update."""
        return self._netmap

    def runner(self, uid: str) -> Runner | None:
        """A runner's row as of the last change read; None if there is none, or before the first read."""
        return self._members.runner(uid)

    def follow(self, runner_uid: str, generation: int) -> Follower:
        """The messages for a runner that has the map of a generation; 0 if it has none."""
        return Follower(self, runner_uid, generation)

    async def run(self) -> None:
        """Reads until cancelled. Reloads everything if it fell behind or the store was unavailable."""
        while True:
            try:
                async with self._feed.subscribe(*map(Topic, _KINDS)) as news:
                    await self._load()
                    while True:
                        await self._tell(await self._gather(news))
            except (TooOld, Unavailable) as error:
                log.warning("reloading the netmap", reason=str(error))
                await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 — jitter

    async def loaded(self) -> None:
        """Returns when the first map is loaded."""
        await self._loaded.wait()

    def wake(self) -> None:
        """Wakes all followers."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Returns when there may be a new delta."""
        await self._news.wait()

    def no_news(self) -> NetmapDelta:
        """An empty update to the current generation."""
        return self._delta(self._netmap.generation, self._netmap, NetmapUpdate(self._netmap.generation))

    async def whole(self) -> NetmapDelta:
        """The full map, possibly slightly outdated: the ring has the later updates."""
        async with self._copying:
            while not self._whole.parts or not self.ring.reaches(self._whole.generation):
                netmap = self._netmap
                self._whole = await asyncio.to_thread(self._delta, 0, netmap, whole(netmap))
            return self._whole

    async def _load(self) -> None:
        members = MembershipIndex(self._overlay_settings)
        async with self._store.read() as reader:
            revision = reader.revision
            for runner in await reader.find(Runner):
                members.apply(runner)
            for lease in await reader.find(Lease):
                members.apply(lease)
            await _take_sessions(reader, members)
        since, recent = await self._recent(revision)
        everybody = NetmapUpdate(revision, tuple(members.peers.values()), tuple(members.endpoints.values()), reset=True)
        netmap = await asyncio.to_thread(Netmap().updated, everybody)
        ring = self._new_ring()
        ring.append(self._delta(since, netmap, members.update(recent, revision)))
        self._members, self._netmap, self._revision, self.ring = members, netmap, revision, ring
        self._loaded.set()
        self.wake()

    async def _recent(self, revision: int) -> tuple[int, Touched]:
        """Members that may have changed between an earlier revision and this one, and that earlier revision."""
        since, touched = max(revision - _REMEMBERED, 0), Touched()
        after = since
        while after < revision:
            try:
                changes = await self._store.changes(after, _PAGE)
            except TooOld:
                return revision, Touched()
            touched.add(mentioned(change.resource for change in changes))
            after = changes[-1].revision if changes else revision
        return since, touched

    async def _gather(self, news: Subscription) -> Touched:
        """Collects the touched members, from the first change to the end of the window."""
        touched = Touched()
        while not touched and self._revision - self._netmap.generation < _QUIET:
            touched.add(self._take(await anext(news)))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._window):
                while True:
                    touched.add(self._take(await anext(news)))
        return touched

    def _take(self, change: Change) -> Touched:
        resource = change.resource
        if change.revision <= self._revision:
            return Touched()
        self._revision = change.revision
        assert isinstance(resource, Runner | Lease | Session)  # noqa: S101 — matched
        return self._members.apply(resource, deleted=change.deleted)

    async def _tell(self, touched: Touched) -> None:
        since, update = self._netmap.generation, self._members.update(touched, self._revision)
        self._netmap = self._netmap.updated(update)
        self.ring.append(self._delta(since, self._netmap, update))
        self.wake()

    def _delta(self, since: int, netmap: Netmap, update: NetmapUpdate) -> NetmapDelta:
        parts = in_parts(update, netmap.digest, self._part)
        return NetmapDelta(since, netmap.generation, netmap.digest, tuple(map(self._encode, parts)))


class Follower:
    """The messages for one runner, in order and without end."""

    def __init__(self, hub: NetmapHub, runner_uid: str, generation: int) -> None:
        self._hub = hub
        self._runner = runner_uid
        self._generation = generation or None
        self._greeted = False
        """Whether the runner was sent anything. Until then it cannot know that its map is current."""
        self._outbox: deque[bytes] = deque()
        self._clock = asyncio.get_running_loop().time
        self._patient_until = self._clock() + _AHEAD
        self._not_before, self._pause = self._clock(), _AGAIN

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Waits for the next message. May be cancelled without loss."""
        while not self._outbox:
            delta = await self._next()
            self._outbox.extend(delta.parts)
            self._generation, self._greeted = delta.generation, True
        return self._outbox.popleft()

    def heard(self, generation: int, digest: str) -> None:
        """Compares the runner's digest with the map it was sent. On a mismatch, sends the full map, with backoff."""
        right = self._hub.ring.digest(generation)
        if not digest or right in {None, digest} or self._clock() < self._not_before:
            return
        log.warning("netmap digest mismatch: sending the full netmap", generation=generation)
        self._not_before, self._pause = self._clock() + self._pause, 2 * self._pause
        self._outbox.clear()
        self._generation = None
        self._hub.wake()

    async def _next(self) -> NetmapDelta:
        hub = self._hub
        await hub.loaded()
        while self._generation is not None and hub.ring.reaches(self._generation):
            if delta := hub.ring.after(self._generation):
                return delta
            if self._generation == hub.ring.generation and not self._greeted:
                return hub.no_news()
            if self._generation <= hub.ring.generation:
                await hub.news()
                continue
            patience = self._patient_until - self._clock()
            if patience <= 0:  # the generation is of another log; most likely the database was restored
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await hub.news()
        return await hub.whole()


async def _take_sessions(reader: Reader, members: MembershipIndex) -> None:
    """Reads page by page, so that the event loop stays responsive with 100,000 sessions."""
    position = ""
    while sessions := await reader.page(Session, position, _PAGE):
        for session in sessions:
            members.apply(session)
        position = str(sessions[-1].full_name)
