"""The image of sessions that name none: a setting of the server, until an admin chooses another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from netvps.domain.image.image import DEFAULT_KEY, DefaultImage
from netvps.domain.image.reference import check_reference
from netvps.errors import NetvpsError
from netvps.services.feed import Topic
from netvps.services.idempotency import Idempotency

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.services.feed import Feed
    from netvps.services.ports import Clock, Reader, Store

log = structlog.get_logger()

_PAUSE: Final = 5.0


async def default_image(reader: Reader, setting: str) -> str:
    """The image of a session that names none; '' if there is none. `setting` is the server's."""
    chosen = await reader.get(DefaultImage, DEFAULT_KEY)
    return (chosen.reference if chosen else "") or setting


class DefaultImages:
    """Shows and changes the default. `run` is a task of the program; `setting` is the server's own default."""

    def __init__(self, store: Store, clock: Clock, feed: Feed, setting: str) -> None:
        self._store = store
        self._clock = clock
        self._feed = feed
        self._setting = setting
        self.current = setting
        """The present default, without a read of the store; '' if there is none."""

    async def get(self) -> DefaultImage:
        """The default; with revision 0 it is the server's setting."""
        async with self._store.read() as reader:
            chosen = await reader.get(DefaultImage, DEFAULT_KEY)
        return chosen if chosen and chosen.reference else DefaultImage(self._setting)

    async def change(self, caller: Caller, reference: str, request_id: str = "") -> DefaultImage:
        """Changes the default for sessions that are created from now on; '' brings the server's setting back.

        Raises InvalidInput.
        """
        reference = check_reference(reference) if reference else ""
        async with self._store.write(caller.user, "image.default") as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "UpdateDefaultImage", reference)
            request = await once.earlier()
            if request is None:
                chosen = await tx.put(DefaultImage(reference))
                await once.record(chosen, "the default image")
        if request is None:
            self.current = reference or self._setting
        return await self.get()

    async def run(self) -> None:
        """Follows changes, also those that other servers make, until cancelled."""
        while True:
            try:
                async with self._feed.subscribe(Topic(DefaultImage.kind)) as changes:
                    self.current = (await self.get()).reference
                    async for _ in changes:
                        self.current = (await self.get()).reference
            except NetvpsError as error:
                log.warning("cannot read the default image; retrying", error=error.message)
            await asyncio.sleep(_PAUSE)
