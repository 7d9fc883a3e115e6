"""Images that come to runners before a session needs them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.ahead import ImageAhead
from netvps.domain.image.work import ListImages, PullImage
from netvps.errors import Unavailable
from netvps.services.images import ahead as module
from netvps.services.images.ahead import ImagesAhead
from tests.fakes.world import HELLO
from tests.services.images.test_images import FakeRunners, image

if TYPE_CHECKING:
    from tests.fakes.world import World

TOOLS, GPU = image("tools:1"), image("gpu:1")
WANTED = (ImageAhead("tools:1"), ImageAhead("gpu:1", "gpu=yes"))


def pulls(runners: FakeRunners) -> list[str]:
    return [work.reference for work, _ in runners.asked if isinstance(work, PullImage)]


def ahead(world: World) -> ImagesAhead:
    return ImagesAhead(world.store, world.images, world.holdings, WANTED)


async def test_each_runner_gets_what_it_lacks_once(world: World) -> None:
    one, runners = await world.runner("lab1"), FakeRunners()
    two = await world.runner("lab2", hello=replace(HELLO, labels=("gpu=yes",)))
    await world.runner("off", online=False)
    await world.runner("none", hello=replace(HELLO, no_sessions=True))
    runners.images, runners.pulled = {one.uid: [TOOLS]}, [GPU]
    made = ahead(world)
    await made.look(runners)
    assert sorted(pulls(runners)) == ["gpu:1", "tools:1"]  # both to lab2
    world.holdings.add(two.uid, TOOLS)
    runners.asked.clear()
    await made.look(runners)
    assert pulls(runners) == []
    assert [work for work, _ in runners.asked if isinstance(work, ListImages)] == []  # what they said is new enough


async def test_what_fails_is_tried_again_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, runners = await world.runner("lab1"), FakeRunners()
    made = ahead(world)
    await made.look(runners)  # nothing is pulled: the runner answers without an image
    assert pulls(runners) == ["tools:1"]
    await made.look(runners)
    assert pulls(runners) == ["tools:1"]
    monkeypatch.setattr(module, "_BACKOFF_MIN", 0.0)
    made = ahead(world)
    await made.look(runners)
    await made.look(runners)
    assert len(pulls(runners)) == 3
    runners.errors = {one.uid: Unavailable("it is connected to another server")}
    world.holdings.keep_only(frozenset())
    made = ahead(world)
    await made.look(runners)
    assert len(pulls(runners)) == 3  # nothing is known of it
