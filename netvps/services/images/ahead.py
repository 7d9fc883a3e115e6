"""Brings images to runners before a session needs them, a few at a time."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.runner.runner import IMAGES, Runner, RunnerState
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from netvps.domain.image.ahead import ImageAhead
    from netvps.services.images.holdings import ImageHoldings
    from netvps.services.images.images import Images
    from netvps.services.ports import FilesCarrier, Store

INTERVAL: Final = 30.0
"""Seconds between looks."""
_ASK_SECONDS: Final = 300.0
"""How old the answer of a runner may be: people and other programs change its images, too."""
_AT_ONCE: Final = 2
"""Images that are brought at the same time: they take disk and network of sessions."""
_ASKED_AT_ONCE: Final = 4
_BACKOFF_MIN, _BACKOFF_MAX = 60.0, 3600.0
log = structlog.get_logger()


class ImagesAhead:
    """Learns what runners have, and brings what they should have. `run` is a task of the program."""

    def __init__(
        self, store: Store, images: Images, holdings: ImageHoldings, wanted: Sequence[ImageAhead]
    ) -> None:  # fmt: skip
        self._store = store
        self._images = images
        self._holdings = holdings
        self._wanted = wanted
        self._asked: dict[str, float] = {}
        """When a runner answered last, by uid."""
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}
        """How often an image did not get to a runner, and when it is tried again."""

    async def run(self, carrier: FilesCarrier) -> None:
        """Looks until cancelled."""
        while True:
            try:
                await self.look(carrier)
            except NetvpsError as error:
                log.warning("cannot look for images that runners lack; retrying", error=error.message)
            await asyncio.sleep(INTERVAL * random.uniform(0.8, 1.2))  # noqa: S311 — jitter

    async def look(self, carrier: FilesCarrier) -> None:
        """Asks the runners whose answer is old, and brings what those that answer lack."""
        async with self._store.read() as reader:
            found = await reader.find(Runner)
        self._forget({runner.uid for runner in found})
        able = [one for one in found if one.state is RunnerState.ONLINE and IMAGES in one.capabilities]
        able = [one for one in able if not one.no_sessions and not one.engine_problem]
        await _each(_ASKED_AT_ONCE, [self._ask(carrier, runner) for runner in able])
        lacking = [
            (runner, one.reference)
            for runner in able
            for one in self._wanted
            if one.is_for(runner) and self._holdings.knows(runner.uid) and self._is_due(runner, one.reference)
        ]
        await _each(_AT_ONCE, [self._bring(carrier, runner, reference) for runner, reference in lacking])

    def _forget(self, known: set[str]) -> None:
        self._holdings.keep_only(frozenset(known))
        self._asked = {uid: when for uid, when in self._asked.items() if uid in known}
        self._failures = {key: value for key, value in self._failures.items() if key[0] in known}

    def _is_due(self, runner: Runner, reference: str) -> bool:
        if self._holdings.has(runner.uid, reference):
            return False
        _, due = self._failures.get((runner.uid, reference), (0, 0.0))
        return asyncio.get_running_loop().time() >= due

    async def _ask(self, carrier: FilesCarrier, runner: Runner) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._asked.get(runner.uid, -_ASK_SECONDS) < _ASK_SECONDS:
            return
        try:
            await self._images.learn(carrier, runner)
        except NetvpsError as error:  # it may be connected to another server
            log.debug("a runner did not say which images it has", runner=runner.name, error=error.message)
        else:
            self._asked[runner.uid] = now

    async def _bring(self, carrier: FilesCarrier, runner: Runner, reference: str) -> None:
        key, clock = (runner.uid, reference), asyncio.get_running_loop().time
        try:
            async with aclosing(self._images.bring(carrier, runner, reference)) as answers:
                async for _ in answers:
                    pass
        except NetvpsError as error:
            count = self._failures.get(key, (0, 0.0))[0] + 1
            pause = min(_BACKOFF_MAX, _BACKOFF_MIN * 2.0 ** min(count - 1, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 — jitter
            self._failures[key] = count, clock() + pause
            log.warning(
                "an image did not get to a runner ahead; retrying",
                image=reference,
                runner=runner.name,
                seconds=round(pause),
                error=error.message,
            )
        else:
            self._failures.pop(key, None)
            log.info("a runner has an image ahead", image=reference, runner=runner.name)


async def _each(at_once: int, works: Sequence[Coroutine[None, None, None]]) -> None:
    """Awaits all, a few at a time."""
    room = asyncio.Semaphore(at_once)

    async def one(work: Coroutine[None, None, None]) -> None:
        async with room:
            await work

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(one(work))
