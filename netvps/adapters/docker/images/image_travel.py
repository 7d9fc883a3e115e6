"""Images on their way from and to other runners: a description, then each layer that the other end lacks.

A layer travels uncompressed, as its digest in the image's configuration is of that, and the configuration's own digest
is the image's id: so what arrives is the image of that id, or is refused. A runner saves an image once to send it.

    FOLDER/images/HEX.tar        an image that is sent, as `docker save` writes it; removed an hour after its last use
    FOLDER/incoming/SHA256.part  a layer on its way here; complete ones stay until the image is loaded
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import IO, Any, Final

import docker.errors

from netvps.adapters.docker.client import Api, Docker
from netvps.adapters.docker.errors import ImageExportFailed, ImageForOtherMachine, ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.archives import Archives, own_errors
from netvps.adapters.docker.files.images import Contents, Images
from netvps.adapters.docker.files.incoming import Incoming
from netvps.adapters.docker.files.travelling import PIECE
from netvps.adapters.docker.images.saved_image import SavedImage, load_archive
from netvps.domain.image.copies import ImageRequest, MissingLayer
from netvps.domain.image.places import runs_on
from netvps.domain.runner.docker_names import is_own_image
from netvps.errors import DataLoss
from netvps.tasks import beside

_VERSION: Final = 1
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_MAX_LAYERS: Final = 512
_MAX_SIZE: Final = 1 << 50
_ALIVE_SECONDS: Final = 10.0
"""How often the other end hears of a runner that saves a large image first."""


@dataclass(frozen=True, slots=True)
class ImageArrival:
    """An image that is being received."""

    reference: str
    id: str
    """At the runner that sends it."""
    config: bytes
    layers: tuple[str, ...]
    """Digests, the lowest first."""
    sizes: dict[str, int]
    """Bytes, by digest."""

    @property
    def config_sha256(self) -> str:
        """The digest of its configuration, which is its id for engines without containerd's image store."""
        return hashlib.sha256(self.config).hexdigest()


class ImageTravel:
    """Implements runner.ports.ImageTravel with Docker."""

    def __init__(self, docker: Docker, archives: Archives, images: Images, contents: Contents) -> None:
        self._docker = docker
        self._archives = archives
        self._images = images
        self._contents = contents
        self._incoming = Incoming(archives.folder / "incoming")

    async def read(self, request: ImageRequest) -> AsyncGenerator[bytes, None]:
        """Yields the description of an image, or a layer from an offset on.

        Raises ImageNotFound, ImageExportFailed, DiskFull.
        """
        found: list[tuple[str, SavedImage]] = []
        async with aclosing(beside(self._saved(request, found), _ALIVE_SECONDS)) as looks:
            async for _ in looks:
                if not request.layer:
                    yield b" "  # before a JSON document, it says nothing
        image_id, saved = found[0]
        if not request.layer:
            yield await asyncio.to_thread(_described, image_id, saved)
            return
        content = await asyncio.to_thread(saved.open_layer, request.layer, request.offset)
        if content is None:
            raise ImageNotFound(f"image {request.reference} has no layer {request.layer}")
        with content:
            while piece := await asyncio.to_thread(_read, content):
                yield piece

    async def arriving(self, reference: str, description: bytes) -> ImageArrival:
        """Parses the description that another runner sent.

        Raises DataLoss if it is damaged, ImageForOtherMachine.
        """
        arrival, architecture = _parsed(reference, description)
        machine = await self._images.machine()
        if not runs_on(machine, architecture):
            raise ImageForOtherMachine(
                f"image {reference} of another runner is for {architecture}, and this runner's machine is {machine}: "
                f"name an image for {machine}"
            )
        return arrival

    def image_id(self, arrival: ImageArrival) -> str:
        """The id of an image at the runner that sends it."""
        return arrival.id

    async def missing(self, arrival: ImageArrival, *, all_layers: bool) -> list[MissingLayer]:
        """The layers that have to be transferred; also those that the engine has, if `all_layers`."""
        known = 0 if all_layers else await self._docker.call_slowly("images", partial(self._known, arrival=arrival))
        with own_errors("cannot receive the image", ImageImportFailed):
            return await asyncio.to_thread(self._missing, arrival, arrival.layers[known:])

    async def receive(
        self, arrival: ImageArrival, layer: str, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        """Appends to a layer until it is complete. Raises DataLoss if it is damaged, DiskFull."""
        what = f"a layer of image {arrival.reference}"
        with own_errors("cannot receive the image", ImageImportFailed):
            await self._incoming.receive(_hex(layer), arrival.sizes[layer], pieces, progress, what)

    async def finish(self, arrival: ImageArrival) -> bool:
        """Loads the image under its name; False if the engine wants the layers that it has as well.

        Raises ImageImportFailed.
        """
        load = partial(self._load, arrival=arrival)
        return await self._docker.call_slowly(f"image {arrival.reference}", load, ImageImportFailed)

    async def _saved(self, request: ImageRequest, found: list[tuple[str, SavedImage]]) -> None:
        save = partial(self._save, request=request)
        with own_errors("cannot send the image", ImageExportFailed):
            found.append(await self._docker.call_slowly(f"image {request.reference}", save, ImageExportFailed))

    def _save(self, api: Api, *, request: ImageRequest) -> tuple[str, SavedImage]:
        if is_own_image(request.reference):
            raise ImageNotFound(f"{request.reference} is no image for sessions")
        found = api.inspect_image(request.reference)
        image_id = str(found["Id"])
        if request.image not in {"", image_id}:
            raise ImageNotFound(f"image {request.reference} was replaced meanwhile: the transfer begins again")
        path = self._archives.image_file(image_id)
        if not path.exists():
            self._archives.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._archives.drop_images()
            self._archives.save_image(api, image_id, lambda: False)
        with suppress(FileNotFoundError):
            os.utime(path)  # so that it is not removed as unused
        return image_id, SavedImage.read(path)

    def _known(self, api: Api, *, arrival: ImageArrival) -> int:
        """How many of the lowest layers the engine has."""
        known = 0
        for item in api.images(all=True):
            with suppress(docker.errors.ImageNotFound):
                layers = self._contents.get(api, str(item["Id"])).layers
                pairs = enumerate(zip(layers, arrival.layers, strict=False))
                differ = next((at for at, (one, other) in pairs if one != other), min(len(layers), len(arrival.layers)))
                known = max(known, differ)
        return known

    def _missing(self, arrival: ImageArrival, layers: tuple[str, ...]) -> list[MissingLayer]:
        self._incoming.prepare()
        self._incoming.discard_abandoned()
        wanted = [
            MissingLayer(one, arrival.sizes[one], self._incoming.have(_hex(one))) for one in dict.fromkeys(layers)
        ]
        self._archives.need(sum(2 * one.size - one.have for one in wanted))  # here, and in Docker
        return wanted

    def _load(self, api: Api, *, arrival: ImageArrival) -> bool:
        paths = {digest: self._incoming.path(_hex(digest)) for digest in arrival.layers}
        files = {digest: path for digest, path in paths.items() if path.exists()}
        pieces = load_archive(arrival.reference, arrival.config, arrival.config_sha256, arrival.layers, files)
        why = ""
        try:
            for item in api.load_image(pieces):
                why = str(item.get("error") or why)
        except docker.errors.APIError as error:
            why = str(error.explanation or error)
        if why or not self._is_there(api, arrival):
            if len(files) < len(paths):
                return False
            raise ImageImportFailed(
                f"image {arrival.reference} of another runner cannot be loaded: {why or 'it is lost'}"
            )
        for path in files.values():
            path.unlink(missing_ok=True)
        return True

    def _is_there(self, api: Api, arrival: ImageArrival) -> bool:
        try:
            found = api.inspect_image(arrival.reference)
        except docker.errors.ImageNotFound:
            return False
        return tuple((found.get("RootFS") or {}).get("Layers") or ()) == arrival.layers


def _described(image_id: str, saved: SavedImage) -> bytes:
    with own_errors("cannot read the image", ImageExportFailed):
        layers = [{"digest": digest, "size": saved.size(digest)} for digest, _ in saved.layers]
    config = base64.b64encode(saved.config).decode()
    return json.dumps({"version": _VERSION, "id": image_id, "config": config, "layers": layers}).encode()


def _parsed(reference: str, description: bytes) -> tuple[ImageArrival, str]:
    try:
        said: dict[str, Any] = json.loads(description)
        if said["version"] != _VERSION:
            raise ImageImportFailed(
                f"the image is sent in version {said['version']}, and this runner knows {_VERSION}: upgrade the older"
            )
        config = base64.b64decode(said["config"], validate=True)
        about = json.loads(config)
        layers = tuple(str(one["digest"]) for one in said["layers"])
        sizes = {str(one["digest"]): int(one["size"]) for one in said["layers"]}
        sound = (
            _DIGEST.fullmatch(said["id"])
            and 0 < len(layers) <= _MAX_LAYERS
            and list(layers) == about["rootfs"]["diff_ids"]
            and all(_DIGEST.fullmatch(one) and 0 <= size < _MAX_SIZE for one, size in sizes.items())
        )
        made_for = "/".join(str(part) for part in (about.get("architecture"), about.get("variant")) if part)
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
        raise DataLoss(f"the description of image {reference} is damaged: {error}") from None
    if not sound:
        raise DataLoss(f"the description of image {reference} is damaged: a field has a value that it cannot have")
    return ImageArrival(reference, str(said["id"]), config, layers, sizes), made_for


def _read(content: IO[bytes]) -> bytes:
    with own_errors("cannot read the image", ImageExportFailed):
        return content.read(PIECE)


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")
