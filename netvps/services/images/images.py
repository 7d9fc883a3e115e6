"""Use cases of images on runners. The runners are asked: the store knows no images but the default."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.checks import Checks
from netvps.domain.image.image import Image, ImageProgress, ImageView
from netvps.domain.image.reference import check_reference, same_reference
from netvps.domain.image.work import DeleteImage, ImageLog, ListImages, PullImage
from netvps.domain.names import SessionName
from netvps.domain.runner.runner import IMAGES, Runner, RunnerState
from netvps.domain.session.session import Session, SessionState
from netvps.errors import InternalError, NetvpsError, NotFound, TimedOut, Unavailable, WrongState
from netvps.services.images.holdings import ImageHoldings
from netvps.services.images.sources import ImageSources
from netvps.services.page import DEFAULT_SIZE, MAX_SIZE, decode_token, encode_token
from netvps.services.sessions.removal import runner_named
from netvps.services.sessions.scope import find_session
from netvps.tasks import Tasks, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

    from netvps.domain.access.accounts import Caller
    from netvps.domain.image.work import BootstrapImage, BuildImage, ImageWork, PublishImage
    from netvps.services.images.default_image import DefaultImages
    from netvps.services.ports import FilesCarrier, FilesExchange, Store

LIST_SECONDS: Final = 15.0
PULL_SECONDS: Final = 3700.0
"""More than a runner gives a pull: its error says more."""
BUILD_SECONDS: Final = 3900.0
_DELETE_SECONDS: Final = 120.0
_AT_ONCE: Final = 16
"""Runners that are asked at once for a page."""
_NAMED: Final = 3
_SCOPE: Final = "image"
_FRESH_SECONDS: Final = 1.0
_MAX_LISTED: Final = 10_000
"""Maximum images of one runner."""


class _Asked:
    """The last answer of a runner, and until when it may be used again."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.images: tuple[Image, ...] = ()
        self.until = 0.0


class ImagePage:
    """Images, the token of the next page ('' on the last), and the NAMEs of runners that could not be asked."""

    def __init__(self) -> None:
        self.images: list[ImageView] = []
        self.next_page_token = ""
        self.unreachable: list[str] = []


class Images:
    """Lists, pulls and removes images of runners; `default` knows the image of sessions that name none."""

    def __init__(self, store: Store, default: DefaultImages, holdings: ImageHoldings | None = None) -> None:
        """`holdings` gets what runners say."""
        self._store = store
        self._holdings = holdings or ImageHoldings()
        self._default = default
        self._asked: dict[str, _Asked] = {}
        """By uid of the runner."""
        self.sources = ImageSources(store, self.find)

    async def list(
        self, carrier: FilesCarrier, *, runner: str = "", page_size: int = 0, page_token: str = ""
    ) -> ImagePage:
        """The images of the runner with that NAME, or of all.

        Raises InvalidInput, and for one runner also NotFound, Unavailable, WrongState.
        """
        checks, after = Checks(), ""
        scope = f"{_SCOPE}&{runner}"
        checks.require(0 <= page_size <= MAX_SIZE, "page_size", f"{page_size} is not between 0 and {MAX_SIZE}")
        with checks.nested():
            after = decode_token(page_token, scope) if page_token else ""
        checks.done()
        from_runner, _, from_reference = after.partition(" ")
        page, size = ImagePage(), page_size or DEFAULT_SIZE
        runners = [await self._require(runner)] if runner else await self._runners(from_runner)
        for start in range(0, len(runners), _AT_ONCE):
            asked = runners[start : start + _AT_ONCE]
            answers = await asyncio.gather(*(self._found(carrier, one) for one in asked), return_exceptions=True)
            for one, answer in zip(asked, answers, strict=True):
                if isinstance(answer, BaseException):
                    if runner or not isinstance(answer, NetvpsError):
                        raise answer
                    page.unreachable.append(one.name)
                    continue
                for image in sorted(answer, key=lambda each: each.reference):
                    if one.name == from_runner and image.reference <= from_reference:
                        continue
                    if len(page.images) == size:
                        last = page.images[-1]
                        page.next_page_token = encode_token(f"{last.runner} {last.reference}", scope)
                        return page
                    page.images.append(self._view(one, image))
        return page

    async def get(self, carrier: FilesCarrier, runner: str, reference: str) -> ImageView:
        """One image. Raises NotFound, Unavailable, WrongState."""
        found = await self._require(runner)
        return self._view(found, await self._one(carrier, found, reference))

    async def delete(
        self, caller: Caller, carrier: FilesCarrier, runner: str, reference: str, *, allow_missing: bool = False
    ) -> None:
        """Removes an image from a runner.

        Raises WrongState with what uses it; NotFound, unless `allow_missing`; Unavailable.
        """
        if same_reference(reference, self._default.current):
            raise _in_use(
                f"image {reference} is the default of new sessions: choose another first (netvps env default)"
            )
        found = await self._require(runner)
        self._asked.pop(found.uid, None)  # a session may just have been deleted
        try:
            image = await self._one(carrier, found, reference)
            if image.sessions:
                used = await self._names(image.sessions)
                raise _in_use(f"image {reference} on runner {runner} is used by {used}; remove them first")
            await self._ask(carrier, found, DeleteImage(reference), seconds=_DELETE_SECONDS)
        except NotFound:
            if not allow_missing:
                raise
        finally:
            self._asked.pop(found.uid, None)

    async def pull(
        self, caller: Caller, carrier: FilesCarrier, runner: str, reference: str
    ) -> AsyncGenerator[ImageProgress | ImageLog | ImageView, None]:
        """Yields progress, then the image. It ends with the iteration.

        Raises NotFound, NotPermitted, Unavailable, WrongState and Exhausted, as the runner found.
        """
        work = PullImage(check_reference(reference))
        found = await self._require(runner)
        async with aclosing(self.bring(carrier, found, work.reference, user=caller.user)) as answers:
            async for answer in answers:
                yield answer

    async def bring(
        self, carrier: FilesCarrier, runner: Runner, reference: str, *, user: str = ""
    ) -> AsyncGenerator[ImageProgress | ImageLog | ImageView, None]:
        """Pulls an image for no caller; else as `pull`."""
        with self.sources.pulling(runner.uid, reference):
            work = PullImage(reference)
            async with aclosing(self.make(carrier, runner.name, work, user, seconds=PULL_SECONDS)) as answers:
                async for answer in answers:
                    yield answer

    async def learn(self, carrier: FilesCarrier, runner: Runner) -> None:
        """Asks a runner for its images, so that the scheduler knows them. Raises Unavailable, WrongState."""
        await self._found(carrier, runner)

    async def build(
        self, caller: Caller, carrier: FilesCarrier, runner: str, work: BuildImage, context: AsyncIterator[bytes]
    ) -> AsyncGenerator[ImageProgress | ImageLog | ImageView, None]:
        """Builds an image from the pieces of a context; yields the builder's words and progress, then the image.

        It ends with the iteration. Raises InvalidInput, WrongState, Exhausted, Unavailable, and
        what `context` raises.
        """
        async with aclosing(
            self.make(carrier, runner, work, caller.user, seconds=BUILD_SECONDS, sent=context)
        ) as answers:
            async for answer in answers:
                yield answer

    async def bootstrap(
        self, caller: Caller, carrier: FilesCarrier, runner: str, work: BootstrapImage
    ) -> AsyncGenerator[ImageProgress | ImageLog | ImageView, None]:
        """Builds an environment with debootstrap; yields progress, then the image.

        It ends with the iteration. Raises WrongState, Exhausted, Unavailable.
        """
        async with aclosing(self.make(carrier, runner, work, caller.user, seconds=BUILD_SECONDS)) as answers:
            async for answer in answers:
                yield answer

    async def publish(
        self, caller: Caller, carrier: FilesCarrier, session: str, work: PublishImage
    ) -> AsyncGenerator[ImageProgress | ImageLog | ImageView, None]:
        """Makes an environment of a stopped session, on its runner; yields progress, then the image.

        Raises NotFound, WrongState, Exhausted, Unavailable.
        """
        async with self._store.read() as reader:
            found = await find_session(reader, caller, SessionName.parse(session, caller.user))
        if not found.runner or found.state is not SessionState.STOPPED:
            raise WrongState(
                f"session {found.full_name} is {found.state}: stop it first (netvps stop {found.full_name}), so that"
                " its files do not change meanwhile"
            )
        order = replace(work, session_uid=found.uid)
        async with aclosing(
            self.make(carrier, found.runner_name, order, caller.user, seconds=BUILD_SECONDS)
        ) as answers:
            async for answer in answers:
                yield answer

    async def make(
        self,
        carrier: FilesCarrier,
        runner: str,
        work: ImageWork,
        user: str,
        *,
        seconds: float,
        sent: AsyncIterator[bytes] | None = None,
    ) -> AsyncGenerator[ImageProgress | ImageLog | ImageView, None]:
        """Lets a runner make an image from the pieces `sent`; yields progress, then the image, within `seconds`."""
        found = await self._require(runner)
        require_images(found)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with (
                carrier.open(found.uid, "", work, user=user) as exchange,
                _sending(exchange, sent) as failures,
                aclosing(until(deadline, exchange.answers())) as answers,
            ):
                async for answer in answers:
                    if failures:
                        raise failures[0]
                    match answer:
                        case ImageProgress() | ImageLog():
                            yield answer
                        case Image():
                            self._asked.pop(found.uid, None)
                            self._holdings.add(found.uid, answer)
                            yield self._view(found, answer)
                            return
        except TimeoutError:
            raise TimedOut(f"runner {runner} was not done within {seconds:.0f} s, and its work is ended") from None
        raise InternalError(f"runner {runner} made no image: see its log")

    async def find(
        self, carrier: FilesCarrier, runners: Sequence[Runner], reference: str
    ) -> Sequence[tuple[Runner, Image]]:  # fmt: skip
        """The image with a name on each of these runners that has it and answers."""
        found: list[tuple[Runner, Image]] = []
        for start in range(0, len(runners), _AT_ONCE):
            asked = runners[start : start + _AT_ONCE]
            answers = await asyncio.gather(*(self._found(carrier, one) for one in asked), return_exceptions=True)
            for runner, answer in zip(asked, answers, strict=True):
                if isinstance(answer, BaseException):
                    if not isinstance(answer, NetvpsError):
                        raise answer
                    continue
                found += [(runner, image) for image in answer if same_reference(image.reference, reference)][:1]
        return found

    async def _one(self, carrier: FilesCarrier, runner: Runner, reference: str) -> Image:
        """One image of a runner. Raises NotFound."""
        for image in await self._ask(carrier, runner, ListImages(reference)):
            if same_reference(image.reference, reference):
                return image
        raise NotFound(f"runner {runner.name} has no image {reference}: see netvps env ls")

    async def _runners(self, from_name: str) -> Sequence[Runner]:
        """The runners with sessions from that NAME on, by name."""
        async with self._store.read() as reader:
            found = await reader.find(Runner)
        return [runner for runner in found if runner.name >= from_name and not runner.no_sessions]

    async def _require(self, name: str) -> Runner:
        async with self._store.read() as reader:
            return await runner_named(reader, name)

    async def _found(self, carrier: FilesCarrier, runner: Runner) -> tuple[Image, ...]:
        """All images of a runner, as of a second ago at most: many screens may ask, and each every second."""
        clock, asked = asyncio.get_running_loop().time, self._asked.setdefault(runner.uid, _Asked())
        async with asked.lock:
            if clock() >= asked.until:
                asked.images = await self._ask(carrier, runner, ListImages())
                self._holdings.note(runner.uid, asked.images)
                asked.until = clock() + _FRESH_SECONDS
            return asked.images

    async def _ask(
        self, carrier: FilesCarrier, runner: Runner, work: ImageWork, *, seconds: float = 0.0
    ) -> tuple[Image, ...]:
        """The list with which a runner answers. Raises Unavailable, WrongState, and what it reports."""
        require_images(runner)
        images: list[Image] = []
        seconds = seconds or LIST_SECONDS
        try:
            async with asyncio.timeout(seconds), carrier.open(runner.uid, "", work, user="") as exchange:
                async for answer in exchange.answers():
                    if isinstance(answer, tuple) and len(images) < _MAX_LISTED:
                        images += answer
        except TimeoutError:
            raise Unavailable(f"runner {runner.name} did not answer within {seconds:.0f} s: try again") from None
        return tuple(images)

    async def _names(self, uids: Iterable[str]) -> str:
        """Sessions for a message: the first few by name."""
        names: list[str] = []
        async with self._store.read() as reader:
            for uid in uids:
                session = await reader.get(Session, uid)
                names.append(str(session.full_name) if session else f"a session that the server does not know ({uid})")
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return f"session{'s' if len(names) > 1 else ''} {', '.join(names[:_NAMED])}{more}"

    def _view(self, runner: Runner, image: Image) -> ImageView:
        return ImageView(
            runner.name,
            image.reference,
            image.digest,
            image.size_bytes,
            image.architecture,
            image.create_time,
            same_reference(image.reference, self._default.current),
            len(image.sessions),
        )


def _in_use(message: str) -> WrongState:
    return WrongState(message, reason="IMAGE_IN_USE")


@asynccontextmanager
async def _sending(exchange: FilesExchange, sent: AsyncIterator[bytes] | None) -> AsyncIterator[list[NetvpsError]]:
    """Sends pieces to a runner during the block; what could not be read of them is in the list.

    Then the runner gets an end, too: what it has is incomplete, which it says, and so the caller does not wait.
    """
    failures: list[NetvpsError] = []

    async def send(pieces: AsyncIterator[bytes]) -> None:
        try:
            async for piece in pieces:
                await exchange.send(piece)
        except NetvpsError as error:
            failures.append(error)
        await exchange.send(None)

    async with Tasks() as tasks:
        if sent is not None:
            tasks.start(send(sent), name="context of a build")
        yield failures


def require_images(runner: Runner) -> None:
    """Raises WrongState or Unavailable unless a runner can work with its images now."""
    if runner.no_sessions:
        raise WrongState(f"runner {runner.name} runs no sessions, so it has no images")
    if runner.state is not RunnerState.ONLINE:
        raise Unavailable(f"runner {runner.name} is offline: try again when it is back")
    if IMAGES not in runner.capabilities:
        raise WrongState(
            f"runner {runner.name} cannot do this with its version {runner.version or 'unknown'}: upgrade it"
        )
