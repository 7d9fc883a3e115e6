"""Which runners an image can be copied from, and which ones may read it."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netvps.domain.image.reference import same_reference
from netvps.domain.runner.runner import IMAGE_COPIES, IMAGES, Runner, RunnerState
from netvps.domain.session.session import Session
from netvps.errors import NotFound, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from netvps.domain.image.image import Image
    from netvps.services.ports import FilesCarrier, Store

    Ask = Callable[[FilesCarrier, Sequence[Runner], str], Awaitable[Sequence[tuple[Runner, Image]]]]


class ImageSources:
    """Finds runners with an image. They are asked, as nothing about images is stored."""

    def __init__(self, store: Store, ask: Ask) -> None:
        """`ask` returns the images with a name on these runners, without those that do not answer."""
        self._store = store
        self._ask = ask
        self._pulling: Counter[tuple[str, str]] = Counter()
        """Pulls by uid of the runner and reference."""

    @contextmanager
    def pulling(self, runner_uid: str, reference: str) -> Iterator[None]:
        """A runner pulls an image during the block, so it may read it."""
        key = runner_uid, reference
        self._pulling[key] += 1
        try:
            yield
        finally:
            self._pulling[key] -= 1
            self._pulling += Counter()  # removes zeros

    async def require_reader(self, runner_uid: str, reference: str) -> None:
        """Raises NotPermitted unless a session of the runner is made from the image, or the runner is pulling it."""
        if any(key[0] == runner_uid and same_reference(key[1], reference) for key in self._pulling):
            return
        async with self._store.read() as reader:
            sessions = await reader.find(Session, runner=runner_uid)
        if not any(same_reference(session.spec.image, reference) for session in sessions):
            raise NotPermitted(f"no session of this runner is made from image {reference}: it gets no copy")

    async def find(self, carrier: FilesCarrier, runner_uid: str, reference: str) -> list[Runner]:
        """The other runners with the newest image of that name. Raises NotFound if there are none.

        Also if the runner that asks has that one itself.
        """
        async with self._store.read() as reader:
            online = await reader.find(Runner, state=RunnerState.ONLINE)
        able = [one for one in online if IMAGES in one.capabilities and not one.no_sessions]
        found = await self._ask(carrier, able, reference)
        others = [pair for pair in found if pair[0].uid != runner_uid and IMAGE_COPIES in pair[0].capabilities]
        if not others:
            raise NotFound(f"no other runner that is online has image {reference}", reason="IMAGE_NOWHERE")
        newest = max(others, key=lambda pair: pair[1].create_time)[1]
        for runner, image in found:
            own = runner.uid == runner_uid
            if own and (image.digest == newest.digest or image.create_time >= newest.create_time):
                raise NotFound(f"no other runner has a newer image {reference}", reason="IMAGE_NEWEST")
        return [runner for runner, image in others if image.digest == newest.digest]
