"""A directory that machines share (NFS, a NAS) as a holder of snapshots, served by a runner without sessions.

    DIRECTORY/.netvps                                 the runner that it belongs to
    DIRECTORY/snapshots/vps-SESSION-SNAPSHOT-TIME.tar what the session wrote, as `runner/copies/snapshots` has it
    DIRECTORY/snapshots/….tar.sha256, ….json          its digest for sha256sum, and its note; the note is written last
    DIRECTORY/images/HEX.tar                          images below, that no registry has
    DIRECTORY/incoming/SHA256.part                    what is on its way; it is renamed once it is complete and synced

Nothing is written unless the first file is there: a mount that is gone leaves an empty folder of this machine's disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

from netvps.adapters.docker.errors import ImageImportFailed
from netvps.adapters.docker.files.archives import Archives, Note, own_errors
from netvps.adapters.docker.files.travelling import Arrival, Travelling
from netvps.domain.runner.docker_names import snapshot_tarball
from netvps.domain.snapshot.copies import CopyPart, MissingPart
from netvps.errors import ConfigError, TimedOut, Unavailable

SECONDS: Final = 600.0
"""How long one step on the directory may take: a server of files that is gone makes every access wait."""
_MARK: Final = ".netvps"


class SharedDirectory:
    """Implements runner.ports.Travel on a directory."""

    def __init__(self, folder: Path, owner: str, seconds: float = SECONDS) -> None:
        """`owner` is the uid of the runner; `seconds` limits each step."""
        self._folder = folder
        self._owner = owner
        self._seconds = seconds
        archives = Archives(folder)
        self._travelling = Travelling(archives, _Snapshots(archives), None)

    def claim(self) -> None:
        """Makes the directory this runner's at its first start. Blocks. Raises ConfigError.

        A directory of another runner is refused: each would remove what only the other one knows.
        """
        mark = self._folder / _MARK
        try:
            if not mark.exists():
                if any(self._folder.iterdir()):
                    raise ConfigError(
                        f"{self._folder} has files, but no {_MARK} of netvps: give an empty directory that is mounted"
                    )
                mark.write_text(f"{self._owner}\n", encoding="ascii")
            owner = mark.read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            raise ConfigError(
                f"{self._folder} cannot be used for snapshots: {error.strerror or error}; mount it with write access"
            ) from None
        if owner != self._owner:
            raise ConfigError(f"{self._folder} belongs to runner {owner[:40]}: give each runner a directory of its own")

    def is_here(self, session: str, snapshot: str) -> bool:
        """Whether a snapshot is complete there. Raises Unavailable if the directory is not."""
        self._require()
        return self._travelling.is_here(session, snapshot)

    async def read(self, session: str, snapshot: str, part: CopyPart, offset: int) -> AsyncGenerator[bytes, None]:
        """Yields a part of a snapshot. Raises NotFound, Unavailable."""
        async with self._limit():
            await asyncio.to_thread(self._require)
        async with aclosing(self._travelling.read(session, snapshot, part, offset)) as pieces:
            while True:
                async with self._limit():
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece

    async def arriving(self, session: str, snapshot: str, description: bytes) -> Arrival:
        """Parses the description of a snapshot at another runner."""
        return await self._travelling.arriving(session, snapshot, description)

    async def missing(self, arrival: Arrival) -> list[MissingPart]:
        """The parts that have to be transferred. Raises Exhausted, Unavailable."""
        async with self._limit():
            await asyncio.to_thread(self._require)
            return await self._travelling.missing(arrival)

    async def receive(
        self, arrival: Arrival, part: CopyPart, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        """Adds pieces to a part until it is complete; each has the limit of a step."""
        loop = asyncio.get_running_loop()
        async with self._limit() as limit:

            def written(count: int) -> None:
                limit.reschedule(loop.time() + self._seconds)
                progress(count)

            await self._travelling.receive(arrival, part, pieces, written)

    async def provide_image(self, arrival: Arrival) -> None:
        """Does nothing: an image that a registry has is pulled where a session needs it."""

    async def finish(self, arrival: Arrival) -> None:
        """Makes what arrived a snapshot; it is on disk when this returns."""
        async with self._limit():
            await asyncio.to_thread(self._require)
            await self._travelling.finish(arrival)

    async def drop(self, session: str, snapshot: str) -> None:
        """Removes a snapshot; idempotent. Raises Unavailable."""
        async with self._limit():
            await asyncio.to_thread(self._require)
            with own_errors(f"cannot remove a snapshot in {self._folder}", ImageImportFailed):
                await self._travelling.drop(session, snapshot)

    def _require(self) -> None:
        try:
            there = (self._folder / _MARK).read_text(encoding="utf-8", errors="replace").strip() == self._owner
        except OSError:
            there = False
        if not there:
            raise Unavailable(
                f"{self._folder} is not mounted, or not readable: mount it again; copies on other runners are used"
            )

    @asynccontextmanager
    async def _limit(self) -> AsyncIterator[asyncio.Timeout]:
        try:
            async with asyncio.timeout(self._seconds) as limit:
                yield limit
        except TimeoutError:
            raise TimedOut(
                f"{self._folder} did not answer within {self._seconds:.0f} s: check the server of these files"
            ) from None


class _Snapshots:
    """The snapshots in the directory, by the names of tarballs; implements travelling.Snapshots."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives
        self._folder = archives.folder / "snapshots"

    def archive(self, session: str, snapshot: str) -> Path:
        """The file of a snapshot, whether it exists or not."""
        return self._folder / snapshot_tarball(session, snapshot)

    def note(self, session: str, snapshot: str) -> Note | None:
        """The note of a complete snapshot; None if there is none. Reads a small file."""
        return self._archives.read_note(self.archive(session, snapshot).with_suffix(".json"))

    def put_note(self, session: str, snapshot: str, note: Note) -> None:
        """Makes an archive that is complete a snapshot. Blocks."""
        archive = self.archive(session, snapshot)
        line = f"{note.sha256}  {archive.name}\n".encode()
        self._archives.store([line], archive.with_suffix(".tar.sha256"), lambda: False)
        self._archives.write_note(archive.with_suffix(".json"), note, lambda: False)

    def drop(self, session: str, snapshot: str) -> None:
        """Removes a snapshot, complete or not; idempotent. Blocks."""
        archive = self.archive(session, snapshot)
        for path in (archive.with_suffix(".json"), archive.with_suffix(".tar.sha256"), archive):
            path.unlink(missing_ok=True)
        self._archives.drop_images()
