"""ImageService over real connections, with a runner that is a fake; so of netvps.rpc.convert.images, too."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.image import DefaultImage, Image, ImageProgress, ImageView
from netvps.domain.image.work import (
    BootstrapImage,
    BuildImage,
    DeleteImage,
    ImageLog,
    ListImages,
    PublishImage,
    PullImage,
)
from netvps.domain.session.session import SessionState
from netvps.errors import InvalidInput, NotFound, NotPermitted, WrongState
from netvps.rpc.client.async_client import AsyncClient
from tests.rpc.server.runners.test_session_files import Answering
from tests.rpc.site import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.image.work import ImageAnswer
    from netvps.domain.snapshot.exchange import FilesRequest
    from netvps.rpc.client.client import Client
    from tests.rpc.site import Machine, Site

MADE = datetime(2026, 1, 2, tzinfo=UTC)
IMAGES = tuple(Image(f"a:{n}", "sha256:1", 7, "arm64/v8", MADE, ("0000000000001",) * n) for n in (0, 1))
PROGRESS = ImageProgress("pulling a:0", 1, 2, 3, 4, 5.5)


class FakeRunner(Answering):
    """A runner with two images; `fails` is what it says to anything but a list."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.work = self._answer
        self.fails: WrongState | None = None
        self.received = b""

    async def _answer(self, incoming: AsyncIterator[bytes]) -> AsyncIterator[ImageAnswer]:
        request: FilesRequest = self.requests[-1]
        if self.fails and not isinstance(request.work, ListImages):
            raise self.fails
        match request.work:
            case ListImages(reference):
                yield tuple(image for image in IMAGES if reference in {"", image.reference})
            case PullImage() | BootstrapImage() | PublishImage():
                yield PROGRESS
                yield IMAGES[0]
            case BuildImage():
                self.received = b"".join([piece async for piece in incoming])
                yield ImageLog("Step 1\n")
                yield PROGRESS
                yield IMAGES[0]


@asynccontextmanager
async def answering(site: Site, machine: Machine | None = None) -> AsyncIterator[FakeRunner]:
    machine = machine or await site.join()
    async with site.link(machine) as link, asyncio.TaskGroup() as group:
        runner = FakeRunner(link, None)
        task = group.create_task(runner.run())
        await soon(lambda: site.server.runner_links)
        yield runner
        task.cancel()


async def test_images_are_listed_pulled_and_removed(site: Site) -> None:
    alice = await site.remote("alice")
    views = [ImageView("lab1", f"a:{n}", "sha256:1", 7, "arm64/v8", MADE, False, n) for n in (0, 1)]
    async with answering(site) as runner:
        assert await site.do(lambda client: list(client.list_images()), alice) == views
        assert await site.do(lambda client: client.get_image("lab1", "a:1"), alice) == views[1]
        assert await site.do(lambda client: list(client.pull_image("lab1", "a:0"))) == [PROGRESS, views[0]]
        await site.do(lambda client: client.delete_image("lab1", "a:0"))
        assert [request.work for request in runner.requests[-3:]] == [
            PullImage("a:0"),
            ListImages("a:0"),
            DeleteImage("a:0"),
        ]
        assert {request.session_uid for request in runner.requests} == {""}
        runner.fails = WrongState("in use: by a container", reason="IMAGE_IN_USE")
        with pytest.raises(WrongState, match="in use: by a container") as failed:
            await site.do(lambda client: client.delete_image("lab1", "a:0"))
        assert failed.value.reason == "IMAGE_IN_USE"
        for wrong in (lambda c: c.delete_image("lab1", "a:0"), lambda c: list(c.pull_image("lab1", "a:0"))):
            with pytest.raises(NotPermitted):
                await site.do(wrong, alice)
        with pytest.raises(NotFound):
            await site.do(lambda client: client.get_image("lab2", "a:1"), alice)


async def test_an_image_is_built_from_a_context_of_many_pieces(site: Site) -> None:
    context = bytes(range(256)) * 1000
    view = ImageView("lab1", "a:0", "sha256:1", 7, "arm64/v8", MADE, is_default=False, session_count=0)
    async with answering(site) as runner:

        def build(client: Client) -> list[object]:
            return list(client.build_image("lab1", "tools", "1", "sub/Dockerfile", iter([context[:9], context[9:]])))

        assert await site.do(build) == [ImageLog("Step 1\n"), PROGRESS, view]
        assert runner.received == context
        assert runner.requests[-1].work == BuildImage("netvps/tools:1", "sub/Dockerfile")

        async def pieces() -> AsyncIterator[bytes]:
            yield context

        async with AsyncClient(site.local) as client:
            steps = client.build_image("lab1", "tools", "", "", pieces())
            assert [step async for step in steps][-1] == view
        assert runner.requests[-1].work == BuildImage("netvps/tools:latest", "Dockerfile")
        runner.fails = WrongState("a step failed: exit 7", reason="IMAGE_BUILD")
        with pytest.raises(WrongState, match="a step failed: exit 7"):
            await site.do(build)
        with pytest.raises(NotPermitted):
            await site.do(build, await site.remote("alice"))
        runner.fails = None
        found = await site.do(lambda c: list(c.bootstrap_image("lab1", "deb", suite="bookworm", mirror="http://m/deb")))
        assert found == [PROGRESS, view]
        assert BootstrapImage("deb", "bookworm", "http://m/deb") in [request.work for request in runner.requests]


async def test_a_stopped_session_is_published_on_its_runner(site: Site) -> None:
    session = await site.running()
    with pytest.raises(WrongState, match=r"session dev1\.alice is RUNNING: stop it first"):
        await site.do(lambda client: list(client.publish_image("dev1.alice", "tools")))
    async with site.store.write("test") as tx:
        await tx.put(replace(session, state=SessionState.STOPPED))
    async with answering(site, site.machines[0]) as runner:
        *_, made = await site.do(lambda client: list(client.publish_image("dev1.alice", "tools", "1")))
        assert isinstance(made, ImageView)
        assert PublishImage(session.uid, "tools", "1") in [request.work for request in runner.requests]
        alice = await site.remote("alice")
        with pytest.raises(NotPermitted):
            await site.do(lambda client: list(client.publish_image("dev1", "tools")), alice)
        with pytest.raises(NotFound):
            await site.do(lambda client: list(client.publish_image("none", "tools")))


async def test_what_is_wrong_with_a_build_is_named_at_once(site: Site) -> None:
    with pytest.raises(InvalidInput) as refused:
        await site.do(lambda client: list(client.build_image("Lab", "A", "-", "../x", iter(()))))
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["start.parent", "start.environment_id", "start.dockerfile"]
    with pytest.raises(InvalidInput) as refused:
        await site.do(lambda client: list(client.bootstrap_image("lab1", "A", suite="$(x)", mirror="file:///etc")))
    assert [violation.field for violation in refused.value.violations] == ["environment_id", "suite", "mirror"]


async def test_a_runner_that_is_gone_is_named(site: Site) -> None:
    async with answering(site):
        pass
    silent: list[str] = []
    assert await site.do(lambda client: list(client.list_images(unreachable=silent.append))) == []
    assert silent == ["lab1"]


async def test_names_are_checked(site: Site) -> None:
    with pytest.raises(InvalidInput) as refused:
        await site.do(lambda client: list(client.pull_image("Lab", "A B")))
    assert [violation.field for violation in refused.value.violations] == ["parent", "reference"]
    with pytest.raises(InvalidInput, match="name"):
        await site.do(lambda client: client.get_image("lab1", "A B"))


async def test_the_default_is_changed_by_admins(site: Site) -> None:
    alice = await site.remote("alice")
    assert await site.do(lambda client: client.get_default_image(), alice) == DefaultImage("debian:12")
    changed = await site.do(lambda client: client.update_default_image("a:1"))
    assert changed.reference == "a:1"
    assert await site.do(lambda client: client.get_default_image(), alice) == changed
    with pytest.raises(NotPermitted):
        await site.do(lambda client: client.update_default_image("a:2"), alice)
