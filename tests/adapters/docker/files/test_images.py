"""Progress of a pull, and an image as a source."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, cast

import docker.errors
import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import ImageForbidden, ImageNotFound, RegistryUnavailable
from netvps.adapters.docker.files.images import Contents, Images, PulledLayers, source_image
from netvps.domain.image.image import ImageProgress
from netvps.domain.session.container import SourceImage
from netvps.errors import NotFound, Unavailable


def test_layers_add_up() -> None:
    layers = PulledLayers("pulling debian:12")
    assert layers.progress(0.0).line == "pulling debian:12"
    layers.add({"id": "12", "status": "Pulling from library/debian"})
    layers.add({"id": "c", "status": "Already exists"})
    layers.add({"id": "a", "status": "Downloading", "progressDetail": {"current": 30_000_000, "total": 100_000_000}})
    layers.add({"id": "b", "status": "Downloading", "progressDetail": {"current": 1, "total": 20_000_000}})
    layers.add({"id": "b", "status": "Download complete", "progressDetail": {}})
    assert layers.progress(0.5).line == "pulling debian:12: 50 MB of 120 MB, 1 of 3 layers"
    layers.add({"id": "b", "status": "Pull complete"})
    assert layers.progress(10.0).line == "pulling debian:12: 50 MB of 120 MB, 2 of 3 layers, 14 s left"


def test_an_images_configuration() -> None:
    found: dict[str, Any] = {"Config": {"Entrypoint": None, "Cmd": ["sh"], "Volumes": {"/data": {}}}}
    found["Config"] |= {"User": "app", "WorkingDir": "/srv"}
    assert source_image("x", found) == SourceImage("x", (), ("sh",), ("/data",), "app", "/srv")


class FakeApi:
    """Images of one layer, named by their ids; counts what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def inspect_image(self, image_id: str) -> dict[str, Any]:
        self.asked.append(image_id)
        if image_id == "gone":
            raise docker.errors.ImageNotFound("no such image: gone")
        rootfs = {"Layers": [f"layer of {image_id}"]}
        return {"Id": image_id, "RootFS": rootfs, "Config": None, "Size": 7, "Created": "2026-11-21T07:12:41Z"}


def test_contents_are_asked_for_once() -> None:
    api, contents = FakeApi(), Contents()
    first = contents.get(api, "a")
    assert (first.id, first.layers, first.size_bytes, first.config) == ("a", ("layer of a",), 7, {})
    assert contents.get(api, "a") is first
    assert contents.get(api, "b").id == "b"
    assert api.asked == ["a", "b"]
    for _ in range(2):
        with pytest.raises(docker.errors.ImageNotFound):
            contents.get(api, "gone")
    assert api.asked[2:] == ["gone", "gone"]


def test_contents_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.docker.files.images._MAX_KNOWN", 3)
    api, contents = FakeApi(), Contents()
    for number in range(10):
        contents.get(api, str(number))
        assert len(contents._known) <= 3


class Pulled(Images):
    """Pulls from a registry and a runner that answer as a test says; None: they have it."""

    def __init__(self, *, registry: Exception | None = None, peer: Exception | None = None) -> None:
        super().__init__(cast("Any", None))
        self._registry, self._peer = registry, peer
        self.asked: list[str] = []
        self.there = False
        self.peers = self._copied

    async def find(self, reference: str) -> SourceImage | None:
        return SourceImage(reference, (), (), (), "", "") if self.there else None

    async def require_runnable(self, reference: str) -> None:
        return None

    async def _pulled(self, reference: str) -> AsyncGenerator[ImageProgress, None]:
        self.asked.append("registry")
        yield ImageProgress("pulling")
        if self._registry:
            raise self._registry
        self.there = True

    async def _copied(self, reference: str) -> AsyncGenerator[ImageProgress, None]:
        self.asked.append("runner")
        yield ImageProgress("copying")
        if self._peer:
            raise self._peer
        self.there = True


async def _lines(images: Images, reference: str) -> list[str]:
    lines: list[str] = []
    await images.pull(reference, lines.append)
    return lines


async def test_an_environment_comes_from_a_runner_and_no_registry_is_asked() -> None:
    images = Pulled()
    assert await _lines(images, "netvps/dev:latest") == ["copying"]
    assert images.asked == ["runner"]
    images = Pulled(peer=NotFound("no other runner that is online has it"))
    with pytest.raises(ImageNotFound, match="is not on this machine, and no other runner that is online has it"):
        await _lines(images, "netvps/dev:latest")
    images.there = True  # it is the newest
    await _lines(images, "netvps/dev:latest")
    with pytest.raises(Unavailable, match="interrupted"):
        await _lines(Pulled(peer=Unavailable("interrupted")), "netvps/dev:latest")


async def test_an_image_that_no_registry_gives_comes_from_a_runner() -> None:
    images = Pulled()
    assert await _lines(images, "debian:12") == ["pulling"]
    for failure in (ImageNotFound("unknown"), RegistryUnavailable("away"), ImageForbidden("no login")):
        images = Pulled(registry=failure)
        assert await _lines(images, "debian:12") == ["pulling", "copying"]
        with pytest.raises(type(failure), match=f"^{failure}$"):
            await _lines(Pulled(registry=failure, peer=NotFound("nowhere")), "debian:12")
        with pytest.raises(type(failure), match=f"^{failure}; nor can it be copied from another runner: broken"):
            await _lines(Pulled(registry=failure, peer=Unavailable("broken")), "debian:12")
    images = Pulled(registry=RegistryUnavailable("away"))
    with pytest.raises(RegistryUnavailable):
        await _lines(images, f"debian@sha256:{'a' * 64}")  # another runner's image has no digest of a registry
    images.there = True
    with pytest.raises(RegistryUnavailable):  # whoever pulls what is here wants the registry's
        await _lines(images, "debian:12")
    assert "runner" not in images.asked


@pytest.mark.docker
async def test_a_registry_that_is_away() -> None:
    docker = await Docker.open()
    try:
        images = Images(docker)
        assert await images.find("127.0.0.1:9/nothing:1") is None
        with pytest.raises(RegistryUnavailable, match="cannot be reached"):
            await images.pull("127.0.0.1:9/nothing:1", lambda _: None)
    finally:
        docker.close()
