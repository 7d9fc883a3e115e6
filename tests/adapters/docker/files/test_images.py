"""Progress of a pull, and an image as a source."""

from __future__ import annotations

from typing import Any

import docker.errors
import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import RegistryUnavailable
from netvps.adapters.docker.files.images import Contents, Images, PulledLayers, source_image
from netvps.domain.session.container import SourceImage


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
