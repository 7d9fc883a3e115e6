"""Inspects images, and pulls them with progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import docker.auth
import docker.utils
from docker.types import CancellableStream

from netvps.adapters.docker.client import Answer, Api, Docker, guarded
from netvps.adapters.docker.errors import (
    LIBRARY_ERRORS,
    EngineSlow,
    EngineUnavailable,
    ImageNotFound,
    RegistryUnavailable,
    explanation,
    mapped,
    pull_failure,
)
from netvps.adapters.docker.stream import iterate
from netvps.domain.session.container import SourceImage

_MB = 1_000_000
_PULLS = 4
_SILENCE_SECONDS = 120
_PULL_SECONDS = 3600.0
_MAX_KNOWN = 1024


@dataclass(frozen=True, slots=True)
class Content:
    """An image, whatever its names are; the id is a digest of its content, so it never changes."""

    id: str
    layers: tuple[str, ...]
    """Digests, the lowest first."""
    size_bytes: int
    created: str
    config: Answer
    """The defaults of its containers, including labels."""


class Contents:
    """A cache of contents by image id. For use in threads."""

    def __init__(self) -> None:
        self._known: dict[str, Content] = {}

    def get(self, api: Api, image_id: str) -> Content:
        """Returns the content of an image. Raises the library's error if the image is neither cached nor present."""
        known = self._known.get(image_id)
        if known is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            found = api.inspect_image(image_id)
            layers = tuple((found.get("RootFS") or {}).get("Layers") or ())
            config = found.get("Config") or {}
            known = Content(str(found["Id"]), layers, int(found["Size"]), str(found["Created"]), config)
            self._known[image_id] = known
        return known


class Images:
    """The images of this engine."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self._pulls = asyncio.Semaphore(_PULLS)

    async def find(self, reference: str) -> SourceImage | None:
        """Inspects an image; None if it is not present."""
        try:
            found = await self._docker.call(reference, lambda api: api.inspect_image(reference))
        except ImageNotFound:
            return None
        return source_image(reference, found)

    async def pull(
        self, reference: str, progress: Callable[[str], None], *, seconds: float = _PULL_SECONDS
    ) -> None:  # fmt: skip
        """Pulls an image; `progress` receives lines such as "pulling debian:12: 34 MB of 120 MB".

        Raises ImageNotFound, ImageForbidden, RegistryUnavailable (also after `seconds`), DiskFull, EngineUnavailable.
        """
        try:
            async with asyncio.timeout(seconds), self._pulls:
                await self._pull(reference, progress)
        except TimeoutError:
            raise RegistryUnavailable(f"image {reference} was not pulled within {seconds:.0f} s; retry later") from None
        if await self.find(reference) is None:
            raise RegistryUnavailable(f"image {reference}: the connection broke during the pull; retry")

    async def tag(self, reference: str, name: str) -> None:
        """Gives an image an additional name, "REPOSITORY:TAG"."""
        repository, tag = docker.utils.parse_repository_tag(name)
        await self._docker.call(reference, lambda api: api.tag(reference, repository, tag or "latest", force=True))

    async def _pull(self, reference: str, progress: Callable[[str], None]) -> None:
        counted = _Layers()
        last = ""
        try:
            async with aclosing(iterate(lambda: self._open(reference), f"pull {reference}")) as items:
                async for item in items:
                    if "error" in item:
                        raise pull_failure(reference, str(item["error"]))
                    counted.add(item)
                    if (line := counted.line(reference)) != last:
                        last = line
                        progress(line)
        except LIBRARY_ERRORS as error:
            known = mapped(error, f"image {reference}")
            if isinstance(known, EngineUnavailable | EngineSlow):
                raise known from error
            raise pull_failure(reference, explanation(error)) from error

    def _open(self, reference: str) -> CancellableStream[Answer]:
        """Opens a pull by the library's private API: its public `pull` cannot be cancelled."""
        api: Any = guarded("the engine", lambda: self._docker.api)
        repository, tag = docker.utils.parse_repository_tag(reference)
        registry, _ = docker.auth.resolve_repository_name(repository)
        login = docker.auth.get_config_header(api, registry)
        response = api._post(  # noqa: SLF001
            api._url("/images/create"),  # noqa: SLF001
            params={"fromImage": repository, "tag": tag or "latest"},
            headers={"X-Registry-Auth": login} if login else {},
            stream=True,
            timeout=_SILENCE_SECONDS,
        )
        api._raise_for_status(response)  # noqa: SLF001
        items: Iterator[Answer] = api._stream_helper(response, decode=True)  # noqa: SLF001
        return CancellableStream(items, response)


class _Layers:
    """Adds up the progress that each layer reports."""

    def __init__(self) -> None:
        self._sizes: dict[str, tuple[int, int]] = {}

    def add(self, item: Answer) -> None:
        detail = item.get("progressDetail") or {}
        if item.get("status") == "Downloading" and detail.get("total"):
            self._sizes[str(item.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
        elif item.get("id") in self._sizes and item.get("status") in {"Download complete", "Pull complete"}:
            total = self._sizes[str(item["id"])][1]
            self._sizes[str(item["id"])] = (total, total)

    def line(self, reference: str) -> str:
        done, total = (sum(sizes) for sizes in zip(*self._sizes.values(), strict=True)) if self._sizes else (0, 0)
        if not total:
            return f"pulling {reference}"
        return f"pulling {reference}: {done // _MB} MB of {max(total // _MB, 1)} MB"


def source_image(reference: str, found: Answer) -> SourceImage:
    """Converts an inspected image."""
    config = found.get("Config") or {}
    return SourceImage(
        reference=reference,
        entrypoint=tuple(config.get("Entrypoint") or ()),
        command=tuple(config.get("Cmd") or ()),
        volumes=tuple(config.get("Volumes") or ()),
        user=config.get("User") or "",
        working_dir=config.get("WorkingDir") or "",
    )
