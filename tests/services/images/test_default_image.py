from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.image import DefaultImage
from netvps.domain.session.spec import SessionSpec
from netvps.errors import AlreadyExists, InvalidInput
from netvps.services.images.default_image import DefaultImages
from netvps.tasks import Tasks
from tests.fakes.world import IMAGE, ROOT
from tests.rpc.site import soon

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_an_admin_chooses_the_image_of_sessions_that_name_none(world: World) -> None:
    default = world.default_images
    assert await default.get() == DefaultImage(IMAGE)
    before = await world.session("before")
    chosen = await default.change(ROOT, "netvps/tools")
    assert (chosen.reference, chosen.revision > 0, default.current) == (
        "netvps/tools:latest",
        True,
        "netvps/tools:latest",
    )
    after, named = await world.session("after"), await world.session("named", spec=SessionSpec(image="debian:11"))
    assert [one.spec.image for one in (before, after, named)] == [IMAGE, "netvps/tools:latest", "debian:11"]
    assert (await default.change(ROOT, "")).reference == IMAGE
    assert (await world.session("later")).spec.image == IMAGE


async def test_it_is_changed_only_to_an_image(world: World) -> None:
    with pytest.raises(InvalidInput, match="reference"):
        await world.default_images.change(ROOT, "Not An Image")
    assert (await world.default_images.get()).reference == IMAGE


async def test_a_repeated_request_changes_nothing_again(world: World) -> None:
    await world.default_images.change(ROOT, "a:1", "request")
    await world.default_images.change(ROOT, "b:1")
    assert (await world.default_images.change(ROOT, "a:1", "request")).reference == "b:1"
    with pytest.raises(AlreadyExists):
        await world.default_images.change(ROOT, "c:1", "request")


async def test_a_change_by_another_server_is_followed(world: World) -> None:
    other = DefaultImages(world.store, world.clock, world.feed, "setting:1")
    async with Tasks() as tasks:
        tasks.start(other.run(), name="default image")
        await world.default_images.change(ROOT, "a:1")
        await soon(lambda: other.current == "a:1")
        await world.default_images.change(ROOT, "")
        await soon(lambda: other.current == "setting:1")
