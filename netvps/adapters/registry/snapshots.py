"""A repository of a registry as a holder of snapshots, served by a runner without sessions.

    REPOSITORY:vps-SESSION-SNAPSHOT   a manifest: the description of a snapshot is its configuration, and the archive of
                                      what the session wrote, and the saved image below, are its layers, as they are
    REPOSITORY:netvps-runner          the runner that the repository belongs to

Parts go to the registry as they arrive: nothing is stored on this machine. The manifest is last.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self

import structlog

from netvps.adapters.docker.files.travelling import Arrival, parse_description, part_of
from netvps.adapters.registry.client import MANIFEST, Repository, digest_of
from netvps.domain.snapshot.copies import CopyPart, MissingPart
from netvps.errors import ConfigError, DataLoss, NetvpsError, NotFound, TimedOut, Unavailable

SECONDS: Final = 600.0
"""How long one step at the registry may take."""
_CHUNK: Final = 4 << 20
"""Bytes that are sent at once."""
_MAX_UPLOADS: Final = 8
_OWNER: Final = "netvps-runner"
_KIND: Final = "application/vnd.netvps.snapshot.v1"
_EMPTY: Final = b"{}"
_PARTS: Final = {CopyPart.FILES: f"{_KIND}.files+tar", CopyPart.IMAGE: f"{_KIND}.image+tar"}
_BEGINS_AGAIN: Final = "a transfer that was resumed has not the right checksum: it begins again"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RegistryArrival:
    """A snapshot that is being received, and its description."""

    about: Arrival
    description: bytes


@dataclass(slots=True)
class _Upload:
    """A part that has arrived so far."""

    address: str
    offset: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    resumed: bool = False


class RegistrySnapshots:
    """Implements runner.ports.Travel on a repository. An async context manager."""

    def __init__(self, repository: Repository, owner: str, seconds: float = SECONDS) -> None:
        """`owner` is the uid of the runner; `seconds` limits each step."""
        self._repository = repository
        self._owner = owner
        self._seconds = seconds
        self._claimed = False
        self._uploads: dict[str, _Upload] = {}
        """Interrupted ones, by SHA-256 of the part."""

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        await self._repository.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._repository.__aexit__(*error)

    async def claim(self) -> None:
        """Makes the repository this runner's, if the registry answers. Raises ConfigError if it is another's.

        Two runners with one repository would count as two copies, and each would remove what the other one knows.
        """
        try:
            await self._require()
        except ConfigError:
            raise
        except NetvpsError as error:
            log.warning("the registry for snapshots does not answer; retrying when it is needed", error=error.message)

    def is_here(self, session: str, snapshot: str) -> bool:
        """Whether a snapshot is complete there. Blocks; not for the loop's own thread."""
        return asyncio.run_coroutine_threadsafe(self._is_here(session, snapshot), self._loop).result()

    async def read(self, session: str, snapshot: str, part: CopyPart, offset: int) -> AsyncGenerator[bytes, None]:
        """Yields a part of a snapshot. Raises NotFound, DataLoss, Unavailable, NotPermitted, TimedOut."""
        async with self._limit():
            description = await self._description(session, snapshot)
        if part is CopyPart.NOTE:
            yield description
            return
        sha256, _ = part_of(parse_description(session, snapshot, description), part)
        async with aclosing(self._repository.blob(f"sha256:{sha256}", offset)) as pieces:
            while True:
                async with self._limit():
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece

    async def arriving(self, session: str, snapshot: str, description: bytes) -> RegistryArrival:
        """Parses the description of a snapshot at another runner."""
        return RegistryArrival(parse_description(session, snapshot, description), description)

    async def missing(self, arrival: RegistryArrival) -> list[MissingPart]:
        """The parts that the registry lacks."""
        async with self._limit():
            await self._require()
            found = []
            for part in _parts(arrival):
                sha256, size = part_of(arrival.about, part)
                if not await self._repository.has_blob(f"sha256:{sha256}", size):
                    begun = self._uploads.get(sha256)
                    found.append(MissingPart(part, size, begun.offset if begun else 0))
            return found

    async def receive(
        self, arrival: RegistryArrival, part: CopyPart, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        """Sends the pieces of a part on, until it is complete.

        Raises DataLoss if it has not the digest of its description, and what the registry says.
        """
        sha256, size = part_of(arrival.about, part)
        upload = self._uploads.pop(sha256, None)
        if upload is None:
            async with self._limit():
                upload = _Upload(await self._repository.begin_upload())
        buffer = bytearray()
        try:
            async for piece in pieces:
                buffer += piece
                progress(len(piece))
                if upload.offset + len(buffer) > size:
                    break
                if len(buffer) >= _CHUNK:
                    await self._append(upload, buffer)
        except NetvpsError:
            await self._keep(sha256, upload, buffer)
            raise
        await self._append(upload, buffer)
        if upload.offset < size:
            await self._keep(sha256, upload, buffer)
            raise Unavailable("the transfer ended early: it goes on where it ended")
        if upload.offset > size or upload.digest.hexdigest() != sha256:
            if upload.resumed:  # what was there may have been damaged, too
                raise Unavailable(_BEGINS_AGAIN)
            raise DataLoss(f"the {part.lower()} of the snapshot arrived damaged: its checksum does not match")
        async with self._limit():
            await self._repository.end_upload(upload.address, f"sha256:{sha256}")
            if not await self._repository.has_blob(f"sha256:{sha256}", size):
                raise Unavailable(f"registry {self._repository.host} does not keep what was sent: check its log")

    async def provide_image(self, arrival: RegistryArrival) -> None:
        """Does nothing: an image that a registry has is pulled where a session needs it."""

    async def finish(self, arrival: RegistryArrival) -> None:
        """Makes what was sent a snapshot: the registry has its manifest when this returns."""
        about = arrival.about
        layers = []
        for part in _parts(arrival):
            sha256, size = part_of(about, part)
            layers.append({"mediaType": _PARTS[part], "digest": f"sha256:{sha256}", "size": size})
        async with self._limit():
            await self._require()
            config = await self._repository.put_blob(arrival.description)
            manifest = _manifest(config, len(arrival.description), layers)
            await self._repository.put_manifest(_tag(about.session, about.snapshot), manifest)

    async def drop(self, session: str, snapshot: str) -> None:
        """Removes the manifest of a snapshot; idempotent. The registry's own garbage collection frees the space."""
        async with self._limit():
            await self._require()
            found = await self._repository.manifest(_tag(session, snapshot))
            if found:
                await self._repository.delete_manifest(found[1])

    async def _is_here(self, session: str, snapshot: str) -> bool:
        async with self._limit():
            await self._require()
            try:
                about = parse_description(session, snapshot, await self._description(session, snapshot))
            except (NotFound, DataLoss):
                return False
            parts = _parts(RegistryArrival(about, b""))
            sizes = [part_of(about, part) for part in parts]
            return all([await self._repository.has_blob(f"sha256:{sha256}", size) for sha256, size in sizes])

    async def _description(self, session: str, snapshot: str) -> bytes:
        """Raises NotFound, and DataLoss if the manifest or the description is damaged."""
        tag = _tag(session, snapshot)
        found = await self._repository.manifest(tag)
        if found is None:
            raise NotFound(f"registry {self._repository.host} has no snapshot {self._repository.name}:{tag}")
        try:
            return await self._repository.small_blob(str(found[0]["config"]["digest"]))
        except (KeyError, TypeError):
            raise DataLoss(f"the manifest {tag} of registry {self._repository.host} is damaged") from None

    async def _require(self) -> None:
        """Raises ConfigError if the repository belongs to another runner."""
        if self._claimed:
            return
        repository = self._repository
        found = await repository.manifest(_OWNER)
        if found is None:
            config = await repository.put_blob(_EMPTY)
            await repository.put_manifest(_OWNER, _manifest(config, len(_EMPTY), [], owner=self._owner))
            owner = self._owner
        else:
            annotations = found[0].get("annotations")
            owner = str(annotations.get(_OWNER, "")) if isinstance(annotations, dict) else ""
        if owner != self._owner:
            raise ConfigError(
                f"repository {repository.host}/{repository.name} belongs to runner {owner[:40]}: give each runner a"
                " repository of its own"
            )
        self._claimed = True

    async def _append(self, upload: _Upload, buffer: bytearray) -> None:
        if buffer:
            content = bytes(buffer)
            async with self._limit():
                upload.address = await self._repository.append(upload.address, content, upload.offset)
            upload.offset += len(content)
            upload.digest.update(content)
            buffer.clear()

    async def _keep(self, sha256: str, upload: _Upload, buffer: bytearray) -> None:
        """Keeps an interrupted upload for the next attempt, unless the registry is why it was interrupted."""
        with suppress(NetvpsError):
            await self._append(upload, buffer)
            upload.resumed = True
            self._uploads[sha256] = upload
            while len(self._uploads) > _MAX_UPLOADS:
                del self._uploads[next(iter(self._uploads))]

    @asynccontextmanager
    async def _limit(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except TimeoutError:
            host = self._repository.host
            raise TimedOut(f"registry {host} was not done within {self._seconds:.0f} s: check it") from None


def _parts(arrival: RegistryArrival) -> list[CopyPart]:
    return [CopyPart.FILES, CopyPart.IMAGE] if arrival.about.image_sha256 else [CopyPart.FILES]


def _tag(session: str, snapshot: str) -> str:
    return f"vps-{session}-{snapshot}"


def _manifest(config: str, size: int, layers: list[dict[str, Any]], *, owner: str = "") -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": f"{_KIND}.config+json", "digest": config, "size": size},
        "layers": layers or [{"mediaType": f"{_KIND}.config+json", "digest": digest_of(_EMPTY), "size": len(_EMPTY)}],
        **({"annotations": {_OWNER: owner}} if owner else {}),
    }
