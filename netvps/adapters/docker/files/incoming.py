"""Parts of snapshots and images on their way to this machine, by SHA-256, until they are complete and on disk.

FOLDER/SHA256.part     what has arrived; a later transfer goes on where it ended
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from netvps.adapters.docker.errors import ImageImportFailed
from netvps.errors import DataLoss
from netvps.faults import fault_point

_ABANDONED_SECONDS: Final = 86_400.0


class Incoming:
    """The parts in `folder`, which is created when needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def have(self, sha256: str) -> int:
        """Bytes of a part that have arrived."""
        try:
            return self.path(sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def path(self, sha256: str) -> Path:
        """The file of a part, whether it exists or not."""
        return self.folder / f"{sha256}.part"

    def prepare(self) -> None:
        """Creates the folder. Blocks."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def receive(
        self, sha256: str, size: int, pieces: AsyncIterator[bytes], progress: Callable[[int], None], what: str
    ) -> Path:
        """Appends to a part until it is complete and on disk; `progress` gets the bytes of each piece.

        Raises DataLoss if it has not this digest; then nothing of it is kept. `what` it is, for its message.
        """
        path = self.path(sha256)
        output, digest, have = await asyncio.to_thread(_resume, path, size)
        resumed = have > 0
        try:
            async for piece in pieces:
                have += len(piece)
                if have > size:
                    break
                await asyncio.to_thread(_append, output, digest, piece)
                progress(len(piece))
            await asyncio.to_thread(_settle, output)
        finally:
            output.close()
        fault_point("receive.written")
        if have == size and digest.hexdigest() == sha256:
            if not await asyncio.to_thread(_holds, path, sha256):  # not the sender's fault
                await asyncio.to_thread(path.unlink, missing_ok=True)
                raise ImageImportFailed("what is on disk is not what arrived: check this machine's disk")
            return path
        if have < size:
            raise ImageImportFailed("the transfer ended early: it goes on where it ended")
        await asyncio.to_thread(path.unlink, missing_ok=True)
        if resumed:  # what was here may have been damaged, too
            raise ImageImportFailed("a transfer that was resumed has not the right checksum: it begins again")
        raise DataLoss(f"{what} arrived damaged: its checksum does not match")

    def discard_abandoned(self) -> None:
        """Removes parts that nothing was added to for a day. Blocks."""
        for path in self.folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()


def _resume(path: Path, size: int) -> tuple[BinaryIO, Any, int]:
    """Opens a part to append to, with the digest of what it has."""
    output = open(path, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115
    output.seek(0)
    digest = hashlib.file_digest(output, "sha256")
    have = output.seek(0, os.SEEK_END)
    if have > size:
        output.truncate(0)
        return output, hashlib.sha256(), 0
    return output, digest, have


def _append(output: BinaryIO, digest: Any, piece: bytes) -> None:
    output.write(piece)
    digest.update(piece)


def _holds(path: Path, sha256: str) -> bool:
    """Whether a file has this digest when read back: other pieces than those that arrived may be in it."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == sha256


def _settle(output: BinaryIO) -> None:
    output.flush()
    os.fsync(output.fileno())
