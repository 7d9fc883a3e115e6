"""What runners last said of their images, and what the scheduler makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from netvps.domain.image.places import ImagePlaces
from netvps.domain.runner.runner import Capacity
from netvps.domain.session.spec import SessionSpec
from netvps.services.images.holdings import ImageHoldings
from tests.fakes.world import ALICE, HELLO, ROOT
from tests.services.images.test_images import FakeRunners, image

if TYPE_CHECKING:
    from tests.fakes.world import World

NAME = "netvps/dev:latest"


def test_the_latest_answer_counts() -> None:
    held = ImageHoldings()
    assert not held.knows("1")
    held.note("1", (image(NAME), image("debian:12")))
    held.add("2", image(NAME))
    assert held.places("netvps/dev") == ImagePlaces("netvps/dev", {"1": "amd64", "2": "amd64"})
    assert held.has("1", "debian:12")
    held.note("1", ())
    assert held.knows("1")
    assert held.places(NAME).held == {"2": "amd64"}
    held.keep_only(frozenset({"1"}))
    assert held.places(NAME).held == {}


async def test_a_session_goes_where_its_image_is(world: World) -> None:
    await world.runner("lab1")
    two, runners = await world.runner("lab2"), FakeRunners()
    runners.images = {two.uid: [image(NAME)]}
    assert (await world.session("early", spec=SessionSpec(image=NAME))).runner_name == "lab1"
    await world.images.list(runners)
    placed = [(await world.session(f"dev{number}", spec=SessionSpec(image=NAME))).runner_name for number in range(12)]
    assert placed[:3] == ["lab2"] * 3
    assert "lab1" in placed  # once the other one is much more loaded
    other = await world.session("other", spec=SessionSpec(image="debian:12"))
    assert other.runner_name == "lab1"


async def test_an_environment_for_another_architecture_waits_with_words(world: World) -> None:
    hello = replace(HELLO, capacity=Capacity(architecture="amd64"))
    one, runners = await world.runner("lab1", hello=hello), FakeRunners()
    arm = await world.runner("arm", hello=replace(HELLO, capacity=Capacity(architecture="arm64")))
    runners.images = {arm.uid: [replace(image(NAME), architecture="arm64")], one.uid: []}
    await world.images.list(runners)
    await world.moves.drain(ROOT, "arm")
    waiting = await world.session("dev", spec=SessionSpec(image=NAME))
    assert waiting.runner == ""
    assert waiting.message.startswith(f"image {NAME} is for arm64, and the runners that could take it are amd64")
    await world.moves.uncordon(ROOT, "arm")
    assert (await world.sessions.get(ALICE, "dev")).runner_name == "arm"
