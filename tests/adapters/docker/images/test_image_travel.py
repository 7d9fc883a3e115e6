"""Images from a folder to another one, through the real engine, which then plays the other machine."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import ImageForOtherMachine, ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.archives import Archives
from netvps.adapters.docker.files.images import Contents, Images
from netvps.adapters.docker.images import image_travel as module
from netvps.adapters.docker.images.image_travel import ImageArrival, ImageTravel
from netvps.domain.image.copies import ImageRequest
from netvps.errors import DataLoss

LAYER = b"layer" * 1000
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
ID = "sha256:" + "1" * 64


def description(**changes: Any) -> bytes:
    config = {"architecture": "amd64", "rootfs": {"diff_ids": [DIGEST]}} | changes.pop("about", {})
    said = {"version": 1, "id": ID, "layers": [{"digest": DIGEST, "size": len(LAYER)}]}
    said |= {"config": base64.b64encode(json.dumps(config).encode()).decode()} | changes
    return json.dumps(said).encode()


class Machine:
    """An engine on amd64 without any image."""

    async def call(self, subject: str, function: Any) -> Any:
        return {"Arch": "amd64"}

    async def call_slowly(self, subject: str, function: Any) -> Any:
        return 0


def travel(folder: Path) -> ImageTravel:
    docker = cast("Any", Machine())
    return ImageTravel(docker, Archives(folder), Images(docker), Contents())


async def test_a_description_is_checked(tmp_path: Path) -> None:
    here = travel(tmp_path)
    arrival = await here.arriving("netvps/dev:1", b"  " + description())
    assert (here.image_id(arrival), arrival.layers) == (ID, (DIGEST,))
    for damaged in (b"{", b"[]", description(id="x"), description(layers=[]), description(config="?")):
        with pytest.raises(DataLoss, match="description of image netvps/dev:1 is damaged"):
            await here.arriving("netvps/dev:1", damaged)
    with pytest.raises(ImageImportFailed, match="version 2, and this runner knows 1: upgrade"):
        await here.arriving("netvps/dev:1", description(version=2))
    with pytest.raises(ImageForOtherMachine, match="is for arm64/v8, and this runner's machine is amd64"):
        await here.arriving("netvps/dev:1", description(about={"architecture": "arm64", "variant": "v8"}))


async def test_a_layer_that_arrived_damaged_is_not_kept(tmp_path: Path) -> None:
    here = travel(tmp_path)
    arrival = await here.arriving("netvps/dev:1", description())
    assert [(one.digest, one.have) for one in await here.missing(arrival, all_layers=False)] == [(DIGEST, 0)]

    async def pieces() -> AsyncIterator[bytes]:
        yield LAYER[:-1] + b"?"

    with pytest.raises(DataLoss, match="a layer of image netvps/dev:1 arrived damaged"):
        await here.receive(arrival, DIGEST, pieces(), lambda _: None)
    assert [one.have for one in await here.missing(arrival, all_layers=True)] == [0]


@dataclass
class Engine:
    docker: Docker
    base: str
    top: str

    def load(self) -> None:
        """An image of a layer, and one of a second layer above it."""
        layers = [_tar({"file": secrets.token_bytes(100_000)}), _tar({"other": secrets.token_bytes(1000)})]
        for reference, count in ((self.base, 1), (self.top, 2)):
            digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers[:count]]
            config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": digests}}
            names = [f"{number}.tar" for number in range(count)]
            manifest = [{"Config": "config.json", "RepoTags": [reference], "Layers": names}]
            files = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
            list(self.docker.api.load_image(_tar(files | dict(zip(names, layers, strict=False)))))

    def travel(self, folder: Path) -> ImageTravel:
        return ImageTravel(self.docker, Archives(folder), Images(self.docker), Contents())


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    tag = secrets.token_hex(4)
    docker = await Docker.open()
    made = Engine(docker, f"netvps/test-base-{tag}:1", f"netvps/test-top-{tag}:1")
    made.load()
    try:
        yield made
    finally:
        docker.close()
        _remove(made.base, made.top, check=False)


def _remove(*images: str, check: bool = True) -> None:
    subprocess.run(["docker", "rmi", "-f", *images], check=check, capture_output=True, timeout=60)


async def _all(source: ImageTravel, request: ImageRequest) -> bytes:
    async with aclosing(source.read(request)) as pieces:
        return b"".join([piece async for piece in pieces])


async def _fetch(source: dict[str, bytes], here: ImageTravel, arrival: ImageArrival, *, all_layers: bool) -> list[str]:
    async def pieces(layer: str) -> AsyncIterator[bytes]:
        yield source[layer]

    missing = await here.missing(arrival, all_layers=all_layers)
    for one in missing:
        await here.receive(arrival, one.digest, pieces(one.digest), lambda _: None)
    return [one.digest for one in missing]


@pytest.mark.docker
@pytest.mark.parametrize("base_is_here", [True, False])
async def test_an_image_arrives_with_the_layers_that_are_missing(
    engine: Engine, tmp_path: Path, *, base_is_here: bool
) -> None:
    there, here = engine.travel(tmp_path / "there"), engine.travel(tmp_path / "here")
    before = engine.docker.api.inspect_image(engine.top)
    said = await _all(there, ImageRequest("", engine.top))
    arrival = await here.arriving(engine.top, said)
    layers = {one: await _all(there, ImageRequest("", engine.top, before["Id"], one)) for one in arrival.layers}
    top = layers[arrival.layers[1]]
    assert await _all(there, ImageRequest("", engine.top, before["Id"], arrival.layers[1], 100)) == top[100:]
    _remove(engine.top)
    if not base_is_here:
        _remove(engine.base)
    assert await _fetch(layers, here, arrival, all_layers=False) == list(arrival.layers[1 if base_is_here else 0 :])
    assert await here.finish(arrival)
    after = engine.docker.api.inspect_image(engine.top)
    assert (after["Id"], after["RootFS"]) == (before["Id"], before["RootFS"])
    assert list((tmp_path / "here/incoming").iterdir()) == []


@pytest.mark.docker
async def test_an_engine_that_lacks_a_layer_after_all_is_given_all(engine: Engine, tmp_path: Path) -> None:
    there, here = engine.travel(tmp_path / "there"), engine.travel(tmp_path / "here")
    before = engine.docker.api.inspect_image(engine.top)
    arrival = await here.arriving(engine.top, await _all(there, ImageRequest("", engine.top)))
    layers = {one: await _all(there, ImageRequest("", engine.top, before["Id"], one)) for one in arrival.layers}
    await _fetch(layers, here, arrival, all_layers=False)
    _remove(engine.top, engine.base)
    assert not await here.finish(arrival)
    await _fetch(layers, here, arrival, all_layers=True)
    assert await here.finish(arrival)
    assert engine.docker.api.inspect_image(engine.top)["Id"] == before["Id"]


@pytest.mark.docker
async def test_what_is_no_image_for_sessions_is_not_sent(engine: Engine, tmp_path: Path) -> None:
    there = engine.travel(tmp_path)
    for request, why in (
        (ImageRequest("", "netvps-snapshot/vps-0000000000001:1"), "is no image for sessions"),
        (ImageRequest("", "netvps/none:1"), "no such image"),
        (ImageRequest("", engine.top, ID, DIGEST), "was replaced meanwhile"),
    ):
        with pytest.raises(ImageNotFound, match=why):
            await _all(there, request)


async def test_who_waits_for_a_large_image_to_be_saved_hears_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = travel(tmp_path)
    heard: list[bytes] = []
    monkeypatch.setattr(module, "_ALIVE_SECONDS", 0.001)
    async with aclosing(here.read(ImageRequest("", "netvps/dev:1"))) as pieces:
        monkeypatch.setattr(here, "_saved", _never)
        async for piece in pieces:
            heard.append(piece)
            if len(heard) == 2:
                break
    assert heard == [b" ", b" "]


async def _never(*_: object) -> None:
    await asyncio.Event().wait()
