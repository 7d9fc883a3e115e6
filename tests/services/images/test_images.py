"""Images of runners that are fakes, which answer as a test says."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.image import Image, ImageProgress, ImageView
from netvps.domain.image.work import BootstrapImage, BuildImage, DeleteImage, ImageLog, ListImages, PullImage
from netvps.domain.runner.runner import Runner
from netvps.errors import InternalError, InvalidInput, NotFound, TimedOut, Unavailable, WrongState
from netvps.services.images import images as module
from tests.fakes.world import HELLO, IMAGE, ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.image.work import ImageAnswer
    from netvps.domain.snapshot.exchange import FilesWork
    from netvps.errors import NetvpsError
    from tests.fakes.world import World

MADE = datetime(2026, 1, 2, tzinfo=UTC)


def image(reference: str, *sessions: str) -> Image:
    return Image(reference, "sha256:1", 7, "amd64", MADE, sessions)


class FakeExchange:
    """One exchange; after the answers it stays open if `hangs`."""

    def __init__(self, found: list[ImageAnswer], *, hangs: bool = False, waits: bool = False) -> None:
        """`waits`: the first answer comes only once everything was sent."""
        self._found, self._hangs, self._waits = found, hangs, waits
        self.sent: list[bytes | None] = []
        self._complete = asyncio.Event()

    async def answers(self) -> AsyncIterator[ImageAnswer]:
        if self._waits:
            await self._complete.wait()
        for answer in self._found:
            yield answer
        if self._hangs:
            await asyncio.Event().wait()

    async def send(self, data: bytes | None) -> None:
        self.sent.append(data)
        if data is None:
            self._complete.set()


class FakeRunners:
    """A carrier to runners with images, by uid."""

    def __init__(self) -> None:
        self.images: dict[str, list[Image]] = {}
        self.errors: dict[str, NetvpsError] = {}
        self.pulled: list[ImageAnswer] = []
        self.hangs = False
        self.asked: list[tuple[FilesWork, str]] = []
        self.open_now = 0
        self.last = FakeExchange([])

    @asynccontextmanager
    async def open(
        self, runner_uid: str, session_uid: str, work: FilesWork, *, user: str
    ) -> AsyncIterator[FakeExchange]:
        self.asked.append((work, user))
        if error := self.errors.get(runner_uid):
            raise error
        self.open_now += 1
        try:
            match work:
                case ListImages(reference):
                    found = self.images.get(runner_uid, [])
                    yield FakeExchange([(one,) for one in found if reference in {"", one.reference}], hangs=self.hangs)
                case DeleteImage():
                    yield FakeExchange([])
                case _:
                    self.last = FakeExchange(self.pulled, hangs=self.hangs, waits=isinstance(work, BuildImage))
                    yield self.last
        finally:
            self.open_now -= 1


@pytest.fixture
def runners() -> FakeRunners:
    return FakeRunners()


async def test_images_are_listed_by_runner_and_reference_in_pages(world: World, runners: FakeRunners) -> None:
    one, two = await world.runner("lab1"), await world.runner("lab2")
    runners.images = {one.uid: [image("b:1", "s1", "s2"), image("a:1")], two.uid: [image(IMAGE)]}
    page = await world.images.list(runners)
    assert [(view.runner, view.reference, view.session_count, view.is_default) for view in page.images] == [
        ("lab1", "a:1", 0, False),
        ("lab1", "b:1", 2, False),
        ("lab2", IMAGE, 0, True),
    ]
    seen, token = [], ""
    while True:
        page = await world.images.list(runners, page_size=1, page_token=token)
        seen += [view.reference for view in page.images]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["a:1", "b:1", IMAGE]
    assert [view.reference for view in (await world.images.list(runners, runner="lab2")).images] == [IMAGE]


async def test_a_runner_that_does_not_answer_is_named_and_not_waited_for(
    world: World, runners: FakeRunners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIST_SECONDS", 0.01)
    one, _ = await world.runner("lab1"), await world.runner("lab2", online=False)
    await world.runner("old", hello=replace(HELLO, capabilities=()))
    await world.runner("no-sessions", hello=replace(HELLO, no_sessions=True))
    runners.images = {one.uid: [image("a:1")]}
    page = await world.images.list(runners)
    assert ([view.reference for view in page.images], page.unreachable) == (["a:1"], ["lab2", "old"])
    world.images._asked.clear()
    runners.hangs = True
    assert "lab1" in (await world.images.list(runners)).unreachable
    for name, error in (("lab1", Unavailable), ("lab2", Unavailable), ("old", WrongState), ("no-sessions", WrongState)):
        with pytest.raises(error, match=name):
            await world.images.list(runners, runner=name)
    with pytest.raises(NotFound):
        await world.images.list(runners, runner="none")
    assert runners.open_now == 0


async def test_many_who_ask_at_once_share_an_answer(world: World, runners: FakeRunners) -> None:
    one = await world.runner("lab1")
    runners.images = {one.uid: [image("a:1")]}
    pages = await asyncio.gather(*(world.images.list(runners) for _ in range(20)))
    assert [len(page.images) for page in pages] == [1] * 20
    assert runners.asked == [(ListImages(), "")]


async def test_a_page_has_a_size_and_a_token_of_this_list(world: World, runners: FakeRunners) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.images.list(runners, page_size=-1, page_token="x")
    assert [violation.field for violation in refused.value.violations] == ["page_size", "page_token"]


async def test_one_image(world: World, runners: FakeRunners) -> None:
    one = await world.runner("lab1")
    runners.images = {one.uid: [image("a:1")]}
    assert (await world.images.get(runners, "lab1", "a:1")).digest == "sha256:1"
    with pytest.raises(NotFound, match="lab1 has no image b:1"):
        await world.images.get(runners, "lab1", "b:1")


async def test_an_image_in_use_is_kept_and_its_users_are_named(world: World, runners: FakeRunners) -> None:
    one = await world.runner("lab1")
    session = await world.session("dev1")
    runners.images = {one.uid: [image("a:1", session.uid, "unknown"), image(IMAGE), image("free:1")]}
    with pytest.raises(WrongState, match=r"is used by sessions dev1\.alice, a session that the server does not know"):
        await world.images.delete(ROOT, runners, "lab1", "a:1")
    with pytest.raises(WrongState, match="default of new sessions"):
        await world.images.delete(ROOT, runners, "lab1", IMAGE)
    assert not any(isinstance(work, DeleteImage) for work, _ in runners.asked)
    await world.images.delete(ROOT, runners, "lab1", "free:1")
    assert runners.asked[-1][0] == DeleteImage("free:1")
    with pytest.raises(NotFound):
        await world.images.delete(ROOT, runners, "lab1", "gone:1")
    await world.images.delete(ROOT, runners, "lab1", "gone:1", allow_missing=True)


async def test_a_pull_tells_how_far_it_is_and_ends_with_the_image(world: World, runners: FakeRunners) -> None:
    await world.runner("lab1")
    runners.pulled = [ImageProgress("pulling a:1", 1, 2), image("a:1")]
    found = [answer async for answer in world.images.pull(ROOT, runners, "lab1", "a:1")]
    assert found == [
        ImageProgress("pulling a:1", 1, 2),
        ImageView("lab1", "a:1", "sha256:1", 7, "amd64", MADE, is_default=False, session_count=0),
    ]
    assert runners.asked == [(PullImage("a:1"), "root")]
    runners.pulled = []
    with pytest.raises(InternalError, match="made no image"):
        await anext(world.images.pull(ROOT, runners, "lab1", "a:1"))


async def test_a_pull_ends_in_time_and_with_its_reader(
    world: World, runners: FakeRunners, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.runner("lab1")
    runners.pulled, runners.hangs = [ImageProgress("pulling a:1")], True
    pull = world.images.pull(ROOT, runners, "lab1", "a:1")
    await anext(pull)
    assert runners.open_now == 1
    await pull.aclose()
    assert runners.open_now == 0
    monkeypatch.setattr(module, "PULL_SECONDS", 0.01)
    with pytest.raises(TimedOut, match="not done within"):
        [answer async for answer in world.images.pull(ROOT, runners, "lab1", "a:1")]
    assert runners.open_now == 0
    assert (await world.rows(Runner))[0].name == "lab1"


async def _pieces(*pieces: bytes, error: NetvpsError | None = None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if error:
        raise error


async def test_a_build_sends_its_context_and_passes_on_what_the_builder_says(
    world: World, runners: FakeRunners
) -> None:
    await world.runner("lab1")
    work = BuildImage("netvps/a:latest")
    runners.pulled = [ImageLog("Step 1"), ImageProgress("pulling"), image("netvps/a:latest")]
    found = [answer async for answer in world.images.build(ROOT, runners, "lab1", work, _pieces(b"1", b"2"))]
    assert found[:2] == runners.pulled[:2]
    assert isinstance(found[2], ImageView)
    assert runners.last.sent == [b"1", b"2", None]
    assert runners.asked == [(work, "root")]


async def test_a_context_that_cannot_be_read_ends_the_build_with_its_error(world: World, runners: FakeRunners) -> None:
    await world.runner("lab1")
    runners.pulled = [ImageLog("the archive is damaged")]
    wrong = InvalidInput.of("data", "too long")
    pieces = _pieces(b"1", error=wrong)
    with pytest.raises(InvalidInput, match="too long"):
        await anext(world.images.build(ROOT, runners, "lab1", BuildImage("netvps/a:latest"), pieces))
    assert runners.last.sent == [b"1", None]
    assert runners.open_now == 0


async def test_an_environment_is_bootstrapped(world: World, runners: FakeRunners) -> None:
    await world.runner("lab1")
    runners.pulled = [ImageProgress("unpacking packages: 3"), image("netvps/deb:latest")]
    work = BootstrapImage("deb", "bookworm")
    found = [answer async for answer in world.images.bootstrap(ROOT, runners, "lab1", work)]
    assert found[0] == runners.pulled[0]
    assert (runners.asked, runners.last.sent) == ([(work, "root")], [])
