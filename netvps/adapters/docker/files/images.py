"""Inspects images, and pulls them with progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import docker.auth
import docker.utils
import structlog
from docker.types import CancellableStream

from netvps.adapters.docker.client import Answer, Api, Docker, guarded
from netvps.adapters.docker.errors import (
    LIBRARY_ERRORS,
    DockerError,
    EngineSlow,
    EngineUnavailable,
    ImageForbidden,
    ImageForOtherMachine,
    ImageNotFound,
    RegistryUnavailable,
    explanation,
    mapped,
    pull_failure,
)
from netvps.adapters.docker.stream import iterate
from netvps.domain.image.image import ImageProgress, remaining_seconds
from netvps.domain.image.login import Credential
from netvps.domain.image.places import runs_on
from netvps.domain.image.reference import is_environment
from netvps.domain.session.container import SourceImage
from netvps.errors import NetvpsError, NotFound
from netvps.tasks import until

log = structlog.get_logger()

_PULLS = 4
_SILENCE_SECONDS = 120
_PULL_SECONDS = 3600.0
_MAX_KNOWN = 1024
_BEGUN = {"Pulling fs layer", "Waiting", "Downloading", "Already exists"}
_COMPLETE = {"Pull complete", "Already exists"}


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
    architecture: str = ""
    """As in a platform: "amd64", "arm64/v8"; '' if the image does not say."""


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
            known = Content(
                str(found["Id"]), layers, int(found["Size"]), str(found["Created"]), config, architecture_of(found)
            )
            self._known[image_id] = known
        return known


class Images:
    """The images of this engine."""

    def __init__(self, docker: Docker, *, silence_seconds: float = _SILENCE_SECONDS) -> None:
        """`silence_seconds` is how long a registry may send nothing."""
        self._docker = docker
        self._pulls = asyncio.Semaphore(_PULLS)
        self._silence = silence_seconds
        self._machine = ""
        self.logins: Callable[[str], Awaitable[Credential | None]] | None = None
        """Returns the login to a registry, by HOST[:PORT]; None: only Docker's own configuration is used."""
        self.peers: Callable[[str], AsyncGenerator[ImageProgress, None]] | None = None
        """Copies an image from another runner, where one has it; None: there are none."""

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
        """Pulls an image; `progress` receives lines such as "pulling debian:12: 34 MB of 120 MB, 1 of 3 layers".

        Raises ImageNotFound, ImageForbidden, ImageForOtherMachine, RegistryUnavailable (also after `seconds`),
        DiskFull, EngineUnavailable.
        """
        last = ""
        async with aclosing(self.pulling(reference, seconds=seconds)) as steps:
            async for step in steps:
                if (line := step.line) != last:
                    last = line
                    progress(line)

    async def pulling(self, reference: str, *, seconds: float = _PULL_SECONDS) -> AsyncGenerator[ImageProgress, None]:
        """Pulls an image, as `pull`; yields the progress. Closing it ends the pull.

        Environments, which no registry has, come from other runners; and so does what a registry does not give.
        """
        before = await self.find(reference)
        begin = asyncio.get_running_loop().time()
        try:
            steps = self._obtained(reference, present=before is not None)
            async with self._pulls, aclosing(until(begin + seconds, steps)) as steps:
                async for step in steps:
                    yield step
        except TimeoutError:
            raise RegistryUnavailable(f"image {reference} was not pulled within {seconds:.0f} s; retry later") from None
        if await self.find(reference) is None:
            raise RegistryUnavailable(f"image {reference}: the connection broke during the pull; retry")
        try:
            await self.require_runnable(reference)
        except ImageForOtherMachine:
            if before is None:
                await self._docker.call(reference, lambda api: api.remove_image(reference))
            raise

    async def require_runnable(self, reference: str) -> None:
        """Raises ImageForOtherMachine if an image is for another architecture than this machine's, and not missing."""
        try:
            found = await self._docker.call(reference, lambda api: api.inspect_image(reference))
        except ImageNotFound:
            return
        machine, made_for = await self.machine(), architecture_of(found)
        if not runs_on(machine, made_for):
            raise ImageForOtherMachine(
                f"image {reference} is for {made_for}, and this runner's machine is {machine}: name an image for"
                f" {machine}, or a tag that has several architectures"
            )

    async def machine(self) -> str:
        """The machine's architecture, as in a platform: "amd64"."""
        if not self._machine:
            said = await self._docker.call("the engine", lambda api: api.version())
            self._machine = str(said.get("Arch", ""))
        return self._machine

    async def tag(self, reference: str, name: str) -> None:
        """Gives an image an additional name, "REPOSITORY:TAG"."""
        repository, tag = docker.utils.parse_repository_tag(name)
        await self._docker.call(reference, lambda api: api.tag(reference, repository, tag or "latest", force=True))

    async def _obtained(self, reference: str, *, present: bool) -> AsyncGenerator[ImageProgress, None]:
        """Pulls an image, or copies it from another runner. One that is present is only replaced by a newer one."""
        copied = self.peers(reference) if self.peers and "@" not in reference else None
        if copied and is_environment(reference):
            try:
                async with aclosing(copied) as steps:
                    async for step in steps:
                        yield step
            except NotFound as error:
                if not present:
                    raise _nowhere(reference, error) from None
            return
        try:
            async with aclosing(self._pulled(reference)) as steps:
                async for step in steps:
                    yield step
        except (ImageNotFound, ImageForbidden, RegistryUnavailable) as error:
            if copied is None or present:
                raise
            with _besides(error):
                async with aclosing(copied) as steps:
                    async for step in steps:
                        yield step

    async def _pulled(self, reference: str) -> AsyncGenerator[ImageProgress, None]:
        """Yields the progress each time that it changes."""
        counted, clock = PulledLayers(f"pulling {reference}"), asyncio.get_running_loop().time
        begin, last = clock(), None
        try:
            login = await self._header(reference)
            async with aclosing(iterate(lambda: self._open(reference, login), f"pull {reference}")) as items:
                async for item in items:
                    if "error" in item:
                        raise pull_failure(reference, str(item["error"]))
                    counted.add(item)
                    if (step := counted.progress(clock() - begin)) != last:
                        last = step
                        yield step
        except LIBRARY_ERRORS as error:
            known = mapped(error, f"image {reference}")
            if isinstance(known, EngineSlow):  # the engine says nothing while the registry says nothing
                raise RegistryUnavailable(
                    f"image {reference}: nothing came from its registry for {self._silence:.0f} s; retry later"
                ) from error
            if isinstance(known, EngineUnavailable):
                raise known from error
            raise pull_failure(reference, explanation(error)) from error

    async def login(self, host: str) -> dict[str, str] | None:
        """The login to a registry, as the engine's headers have it. None: Docker's own configuration may have one.

        A public image needs no login, so a control plane that is away does not keep it from being pulled.
        """
        try:
            found = await self.logins(host) if self.logins else None
        except NetvpsError as error:
            log.warning("pulling without a login: it cannot be read", registry=host, error=error.message)
            return None
        return {"username": found.username, "password": found.password} if found else None

    async def _header(self, reference: str) -> bytes | str | None:
        """The header with the login to an image's registry."""
        host, _ = docker.auth.resolve_repository_name(docker.utils.parse_repository_tag(reference)[0])
        login = await self.login(host)
        return docker.auth.encode_header(login) if login else None

    def _open(self, reference: str, login: bytes | str | None) -> CancellableStream[Answer]:
        """Opens a pull by the library's private API: its public `pull` cannot be cancelled."""
        api: Any = guarded("the engine", lambda: self._docker.api)
        repository, tag = docker.utils.parse_repository_tag(reference)
        registry, _ = docker.auth.resolve_repository_name(repository)
        login = login or docker.auth.get_config_header(api, registry)
        response = api._post(  # noqa: SLF001
            api._url("/images/create"),  # noqa: SLF001
            params={"fromImage": repository, "tag": tag or "latest"},
            headers={"X-Registry-Auth": login} if login else {},
            stream=True,
            timeout=self._silence,
        )
        api._raise_for_status(response)  # noqa: SLF001
        items: Iterator[Answer] = api._stream_helper(response, decode=True)  # noqa: SLF001
        return CancellableStream(items, response)


def _nowhere(reference: str, why: NetvpsError) -> ImageNotFound:
    return ImageNotFound(
        f"image {reference} is not on this machine, and {why.message}; check the name, or build it (netvps env build"
        " NAME DIR)"
    )


@contextmanager
def _besides(failure: DockerError) -> Iterator[None]:
    """Adds why no runner gives an image to why its registry does not."""
    try:
        yield
    except NotFound:
        raise failure from None
    except NetvpsError as error:
        raise type(failure)(f"{failure.message}; nor can it be copied from another runner: {error.message}") from None


class PulledLayers:
    """Adds up the progress that each layer reports; `message` says what goes on."""

    def __init__(self, message: str) -> None:
        self._message = message
        self._sizes: dict[str, tuple[int, int]] = {}
        self._layers: dict[str, bool] = {}
        """By id: whether it is complete."""

    def add(self, item: Answer) -> None:
        """Takes a message of the engine."""
        layer, status, detail = str(item.get("id")), item.get("status"), item.get("progressDetail") or {}
        if status in _BEGUN:
            self._layers.setdefault(layer, False)
        if status in _COMPLETE:
            self._layers[layer] = True
        if status == "Downloading" and detail.get("total"):
            self._sizes[layer] = (int(detail.get("current", 0)), int(detail["total"]))
        elif layer in self._sizes and status in {"Download complete", "Pull complete"}:
            total = self._sizes[layer][1]
            self._sizes[layer] = (total, total)

    def progress(self, elapsed: float) -> ImageProgress:
        """What they add up to, `elapsed` seconds after the beginning."""
        done, total = (sum(sizes) for sizes in zip(*self._sizes.values(), strict=True)) if self._sizes else (0, 0)
        remaining = remaining_seconds(done, total, elapsed)
        return ImageProgress(
            self._message,
            done,
            total,
            sum(self._layers.values()),
            len(self._layers),
            None if remaining is None else float(round(remaining)),
        )


def architecture_of(found: Answer) -> str:
    """The architecture of an inspected image: "amd64", "arm64/v8"; '' if it does not say."""
    return "/".join(str(part) for part in (found.get("Architecture"), found.get("Variant")) if part)


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
