"""The netmap of this process: one reader of the log for all runners, who are sent the same bytes.

    log ──► roster ──► a letter for each window of changes ──► ring ──► a follower for each runner
                                                                └─────► the whole map, for whom the ring has forgotten

Nothing is queued for anybody. A follower knows which generation its runner was sent, and takes what comes next; one
who is slow takes it later, or the whole map. A generation is a revision of the log, so a runner may come from another
server of the cluster, whose windows were others, and go on from there.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.domain.overlay.netmap import Netmap, NetmapUpdate, Touched, in_parts, whole
from netvps.domain.overlay.roster import Roster, mentioned
from netvps.domain.runner import Lease, Runner
from netvps.domain.session import Session
from netvps.errors import TooOld, Unavailable
from netvps.services.feed import Topic
from netvps.services.netmap_ring import Letter, Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.overlay.fabric import Fabric
    from netvps.services.feed import Feed, Subscription
    from netvps.services.ports import Change, Reader, Store

log = structlog.get_logger()

_KINDS: Final = (Runner.kind, Lease.kind, Session.kind)
WINDOW: Final = 0.05
"""Seconds over which changes are gathered."""
PART: Final = 1500
"""Entries in a message. None is larger than 700 bytes, so no message is larger than 1 MiB."""
_PAGE: Final = 500
_REMEMBERED: Final = 2000
"""Revisions from before the start that a runner may resume from: more than a restart of everything makes."""
_QUIET: Final = 500
"""Revisions without news after which runners are told that there is none: so they can resume after a restart."""
_PAUSE: Final = 0.5
_AHEAD: Final = 5.0
"""Seconds for this server to get to the generation that a runner had from another one."""
_AGAIN: Final = 30.0
"""Seconds after which a runner whose map is wrong may have it anew; then twice as many each time."""


class NetmapHub:
    """Keeps the netmap and tells it. `run` is a task of the program."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        fabric: Fabric,
        encode: Callable[[NetmapUpdate], bytes],
        *,
        window: float = WINDOW,
        part: int = PART,
        ring: Callable[[], Ring] = Ring,
    ) -> None:
        """`encode` makes a message of an update; `window` is in seconds, `part` in entries."""
        self._store, self._feed, self._fabric = store, feed, fabric
        self._encode, self._window, self._part, self._new_ring = encode, window, part, ring
        self._roster, self._netmap = Roster(fabric), Netmap()
        self._revision = 0
        self.ring = ring()
        self._loaded, self._news = asyncio.Event(), asyncio.Event()
        self._whole = Letter(0, 0, "")
        self._copying = asyncio.Lock()

    @property
    def netmap(self) -> Netmap:
        """As it was told last."""
        return self._netmap

    def runner(self, uid: str) -> Runner | None:
        """A runner's row as the log had it last; None before the log is read, or if there is none."""
        return self._roster.runner(uid)

    def follow(self, runner_uid: str, generation: int) -> Follower:
        """The messages for a runner that knows the map of a generation; 0 if it knows none."""
        return Follower(self, runner_uid, generation)

    async def run(self) -> None:
        """Reads until it is cancelled; where it fell behind, or the store is away, it begins anew."""
        while True:
            try:
                async with self._feed.subscribe(*map(Topic, _KINDS)) as news:
                    await self._load()
                    while True:
                        await self._tell(await self._gather(news))
            except (TooOld, Unavailable) as error:
                log.warning("the netmap is read anew", reason=str(error))
                await asyncio.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 — jitter

    async def loaded(self) -> None:
        """Returns once there is a map."""
        await self._loaded.wait()

    def wake(self) -> None:
        """Has all followers look."""
        self._news.set()
        self._news = asyncio.Event()

    async def news(self) -> None:
        """Returns when there may be a letter."""
        await self._news.wait()

    def no_news(self) -> Letter:
        """For who knows the map of now."""
        return self._letter(self._netmap.generation, self._netmap, NetmapUpdate(self._netmap.generation))

    async def whole(self) -> Letter:
        """The whole map, as it is or was a little before: the ring has what came since."""
        async with self._copying:
            while not self._whole.parts or not self.ring.reaches(self._whole.generation):
                netmap = self._netmap
                self._whole = await asyncio.to_thread(self._letter, 0, netmap, whole(netmap))
            return self._whole

    async def _load(self) -> None:
        roster = Roster(self._fabric)
        async with self._store.read() as reader:
            revision = reader.revision
            for runner in await reader.find(Runner):
                roster.take(runner)
            for lease in await reader.find(Lease):
                roster.take(lease)
            await _take_sessions(reader, roster)
        since, recent = await self._recent(revision)
        everybody = NetmapUpdate(revision, tuple(roster.peers.values()), tuple(roster.endpoints.values()), reset=True)
        netmap = await asyncio.to_thread(Netmap().updated, everybody)
        ring = self._new_ring()
        ring.append(self._letter(since, netmap, roster.update(recent, revision)))
        self._roster, self._netmap, self._revision, self.ring = roster, netmap, revision, ring
        self._loaded.set()
        self.wake()

    async def _recent(self, revision: int) -> tuple[int, Touched]:
        """Who may have changed since some revision before this one."""
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
        """Whom there is news of, from the first one to the end of the window."""
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
        return self._roster.take(resource, deleted=change.deleted)

    async def _tell(self, touched: Touched) -> None:
        since, update = self._netmap.generation, self._roster.update(touched, self._revision)
        self._netmap = self._netmap.updated(update)
        self.ring.append(self._letter(since, self._netmap, update))
        self.wake()

    def _letter(self, since: int, netmap: Netmap, update: NetmapUpdate) -> Letter:
        parts = in_parts(update, netmap.digest, self._part)
        return Letter(since, netmap.generation, netmap.digest, tuple(map(self._encode, parts)))


class Follower:
    """The messages for one runner, in order; for ever, unless the caller stops."""

    def __init__(self, hub: NetmapHub, runner_uid: str, generation: int) -> None:
        self._hub = hub
        self._runner = runner_uid
        self._generation = generation or None
        self._greeted = False
        """Whether the runner was sent anything: until then it cannot tell no news from none yet."""
        self._outbox: deque[bytes] = deque()
        self._clock = asyncio.get_running_loop().time
        self._patient_until = self._clock() + _AHEAD
        self._not_before, self._pause = self._clock(), _AGAIN

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next message; waits for it. May be cancelled without loss."""
        while not self._outbox:
            letter = await self._next()
            self._outbox.extend(letter.parts)
            self._generation, self._greeted = letter.generation, True
        return self._outbox.popleft()

    def heard(self, generation: int, digest: str) -> None:
        """What the runner says it knows. Where that is wrong, the whole map follows; at most every so often."""
        right = self._hub.ring.digest(generation)
        if not digest or right in {None, digest} or self._clock() < self._not_before:
            return
        log.warning("a runner has another netmap than it was sent: it gets all of it", generation=generation)
        self._not_before, self._pause = self._clock() + self._pause, 2 * self._pause
        self._outbox.clear()
        self._generation = None
        self._hub.wake()

    async def _next(self) -> Letter:
        hub = self._hub
        await hub.loaded()
        while self._generation is not None and hub.ring.reaches(self._generation):
            if letter := hub.ring.after(self._generation):
                return letter
            if self._generation == hub.ring.generation and not self._greeted:
                return hub.no_news()
            if self._generation <= hub.ring.generation:
                await hub.news()
                continue
            patience = self._patient_until - self._clock()
            if patience <= 0:  # that generation is of another log: the database was restored, most likely
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await hub.news()
        return await hub.whole()


async def _take_sessions(reader: Reader, roster: Roster) -> None:
    """A page at a time: there may be a hundred thousand, and others wait for the loop."""
    position = ""
    while sessions := await reader.page(Session, position, _PAGE):
        for session in sessions:
            roster.take(session)
        position = str(sessions[-1].full_name)
