"""Requests about images, answered with an engine that is a fake."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from netvps.domain.image.image import Image, ImageProgress
from netvps.domain.image.work import (
    BootstrapImage,
    BuildImage,
    DeleteImage,
    ImageLog,
    ListImages,
    PublishImage,
    PullImage,
)
from netvps.errors import Exhausted, NetvpsError, NotFound, WrongState
from netvps.runner.image import requests
from netvps.runner.image.requests import ImageRequests

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from netvps.runner.ports import Environments, FilesServer

IMAGES = tuple(Image(f"a:{n}", "sha256:1", 7, "amd64", datetime(2026, 1, 2, tzinfo=UTC)) for n in range(40))


class Link:
    """Carries answers to a list, or the error."""

    def __init__(self) -> None:
        self.answers: list[object] = []

    async def carry_files(self, stream_id: str, work: FilesServer) -> None:
        async def nothing() -> AsyncIterator[bytes]:
            for piece in list[bytes]():
                yield piece

        try:
            self.answers += [answer async for answer in work(nothing())]
        except NetvpsError as error:
            self.answers.append(type(error))


class FakeEnvironments:
    """Forty images; a pull goes on once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.deleted: list[str] = []

    async def list_images(self, reference: str = "") -> tuple[Image, ...]:
        return tuple(image for image in IMAGES if reference in {"", image.reference})

    async def delete_image(self, reference: str) -> None:
        if reference == "gone":
            raise NotFound("gone")
        self.deleted.append(reference)

    async def build_image(
        self, work: BuildImage, incoming: AsyncIterator[bytes]
    ) -> AsyncGenerator[Image | ImageProgress | ImageLog, None]:
        assert [piece async for piece in incoming] == []
        for number in range(3):
            yield ImageLog(f"{work.reference} {number}")
        yield IMAGES[0]

    async def bootstrap_image(self, work: BootstrapImage) -> AsyncGenerator[Image | ImageProgress, None]:
        yield ImageProgress(work.name)
        yield IMAGES[0]

    async def publish_image(self, work: PublishImage) -> AsyncGenerator[Image | ImageProgress, None]:
        yield ImageProgress(work.reference)
        yield IMAGES[0]

    async def pull_image(self, reference: str) -> AsyncGenerator[Image | ImageProgress, None]:
        for number in range(100):
            yield ImageProgress(f"{number}")
        await self.may.wait()
        yield IMAGES[0]


@pytest.fixture
def link() -> Link:
    return Link()


def serving(link: Link, environments: Environments | None) -> ImageRequests:
    return ImageRequests(cast("Any", link), environments)


async def test_a_list_comes_in_parts(link: Link) -> None:
    images = serving(link, FakeEnvironments())
    await images.serve("s", ListImages())
    assert [len(cast("tuple[Image, ...]", part)) for part in link.answers] == [16, 16, 8]
    assert sum(cast("list[tuple[Image, ...]]", link.answers), ()) == IMAGES
    link.answers.clear()
    await images.serve("s", ListImages("a:7"))
    assert link.answers == [(IMAGES[7],)]


async def test_an_image_is_removed_or_the_caller_learns_why_not(link: Link) -> None:
    environments = FakeEnvironments()
    images = serving(link, environments)
    await images.serve("s", DeleteImage("a:1"))
    await images.serve("s", DeleteImage("gone"))
    assert (environments.deleted, link.answers) == (["a:1"], [NotFound])


async def test_progress_is_sent_once_a_second_at_most_and_the_image_at_once(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = FakeEnvironments()
    environments.may.set()
    await serving(link, environments).serve("s", PullImage("a:0"))
    assert link.answers == [ImageProgress("0"), IMAGES[0]]
    link.answers.clear()
    monkeypatch.setattr(requests, "EVERY_SECONDS", 0.0)
    await serving(link, environments).serve("s", PullImage("a:0"))
    assert len(link.answers) == 101


async def test_all_that_a_builder_says_is_passed_on(link: Link) -> None:
    images = serving(link, FakeEnvironments())
    await images.serve("s", BuildImage("a:0"))
    assert link.answers == [*(ImageLog(f"a:0 {number}") for number in range(3)), IMAGES[0]]
    link.answers.clear()
    await images.serve("s", BootstrapImage("deb"))
    assert link.answers == [ImageProgress("deb"), IMAGES[0]]
    link.answers.clear()
    await images.serve("s", PublishImage("0000000000001", "tools"))
    assert link.answers == [ImageProgress("netvps/tools:latest"), IMAGES[0]]


async def test_a_few_are_answered_at_once_and_more_are_refused(link: Link) -> None:
    environments = FakeEnvironments()
    images = serving(link, environments)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(images.serve("s", PullImage("a:0")))
        while Exhausted not in link.answers:
            await asyncio.sleep(0)
        await images.serve("s", ListImages("a:1"))  # does not wait for pulls
        assert (IMAGES[1],) in link.answers
        environments.may.set()
    assert link.answers.count(IMAGES[0]) == 4
    assert set(images.busy.values()) == {0}


async def test_a_runner_without_sessions_says_so(link: Link) -> None:
    await serving(link, None).serve("s", ListImages())
    assert link.answers == [WrongState]
