"""Which runners an image is copied from, and which may read it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.image import ImageProgress
from netvps.domain.runner.runner import IMAGE_COPIES
from netvps.domain.session.spec import SessionSpec
from netvps.errors import NotFound, NotPermitted, Unavailable
from tests.fakes.world import HELLO, ROOT
from tests.services.images.test_images import MADE, FakeRunners, image

if TYPE_CHECKING:
    from tests.fakes.world import World

NAME = "netvps/dev:latest"
OLD, NEW = image(NAME), replace(image(NAME), digest="sha256:2", create_time=MADE + timedelta(days=1))


async def test_the_newest_image_of_others_is_copied(world: World) -> None:
    runners, names = FakeRunners(), ("lab1", "lab2", "lab3", "lab4")
    one, two, three, four = [await world.runner(name) for name in names]
    find = world.images.sources.find
    with pytest.raises(NotFound, match="no other runner that is online has image netvps/dev:latest"):
        await find(runners, one.uid, NAME)
    runners.images = {two.uid: [OLD, image("debian:12")], three.uid: [NEW], four.uid: [NEW]}
    world.images._asked.clear()
    assert [found.name for found in await find(runners, one.uid, "netvps/dev")] == ["lab3", "lab4"]
    assert [found.name for found in await find(runners, two.uid, NAME)] == ["lab3", "lab4"]
    with pytest.raises(NotFound, match="no other runner has a newer image"):
        await find(runners, three.uid, NAME)
    runners.errors = {three.uid: Unavailable("away"), four.uid: Unavailable("away")}
    world.images._asked.clear()
    assert [found.name for found in await find(runners, one.uid, NAME)] == ["lab2"]


async def test_a_runner_of_an_earlier_version_sends_none(world: World) -> None:
    one = await world.runner("lab1")
    older = tuple(each for each in HELLO.capabilities if each != IMAGE_COPIES)
    two = await world.runner("lab2", hello=replace(HELLO, capabilities=older))
    runners = FakeRunners()
    runners.images = {two.uid: [NEW]}
    with pytest.raises(NotFound):
        await world.images.sources.find(runners, one.uid, NAME)


async def test_only_runners_that_need_an_image_read_it(world: World) -> None:
    one = await world.runner("lab1")
    require = world.images.sources.require_reader
    with pytest.raises(NotPermitted, match="no session of this runner is made from image netvps/dev"):
        await require(one.uid, NAME)
    await world.session("dev", spec=SessionSpec(image="netvps/dev"))
    await require(one.uid, NAME)
    with pytest.raises(NotPermitted):
        await require(one.uid, "netvps/other:latest")
    runners = FakeRunners()
    runners.pulled = [ImageProgress("copying"), image("netvps/other:latest")]
    async for _ in world.images.pull(ROOT, runners, "lab1", "netvps/other"):
        await require(one.uid, "netvps/other:latest")
    with pytest.raises(NotPermitted):
        await require(one.uid, "netvps/other:latest")
