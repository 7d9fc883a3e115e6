"""Progress of a pull, and an image as a source."""

from __future__ import annotations

from typing import Any

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import RegistryAway
from netvps.adapters.docker.images import Images, _Layers, source_image
from netvps.domain.container import SourceImage


def test_layers_add_up() -> None:
    layers = _Layers()
    assert layers.line("debian:12") == "pulling debian:12"
    layers.add({"id": "a", "status": "Downloading", "progressDetail": {"current": 30_000_000, "total": 100_000_000}})
    layers.add({"id": "b", "status": "Downloading", "progressDetail": {"current": 1, "total": 20_000_000}})
    layers.add({"id": "b", "status": "Download complete", "progressDetail": {}})
    assert layers.line("debian:12") == "pulling debian:12: 50 MB of 120 MB"


def test_an_images_configuration() -> None:
    found: dict[str, Any] = {"Config": {"Entrypoint": None, "Cmd": ["sh"], "Volumes": {"/data": {}}}}
    assert source_image("x", found) == SourceImage("x", (), ("sh",), ("/data",))


@pytest.mark.docker
async def test_a_registry_that_is_away() -> None:
    docker = await Docker.open()
    try:
        images = Images(docker)
        assert await images.find("127.0.0.1:9/nothing:1") is None
        with pytest.raises(RegistryAway, match="cannot be reached"):
            await images.pull("127.0.0.1:9/nothing:1", lambda _: None)
    finally:
        docker.close()
