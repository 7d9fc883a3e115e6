"""An SFTP server on standard input and output, which shows an archive as two snapshots: for OpenSSH's `sftp -D`.

python -m tests.runner.browse.sftp_of_archive ARCHIVE
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from netvps.adapters.docker.content.snapshot_tree import SnapshotTree, _Room
from netvps.adapters.docker.files.archives import Note
from netvps.domain.snapshot.exchange import BrowsedSnapshot
from netvps.errors import NotFound
from netvps.runner.browse.root import Root
from netvps.runner.browse.sftp import SftpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def serve(archive: Path) -> None:
    room = _Room()

    async def browse(uid: str) -> SnapshotTree:
        if uid == "gone":
            raise NotFound("snapshot gone of session s is not here")
        return SnapshotTree(Note("", "", "", "", "", ""), archive, room)

    async def incoming() -> AsyncIterator[bytes]:
        while data := await asyncio.to_thread(os.read, sys.stdin.fileno(), 1000):
            yield data

    root = Root([BrowsedSnapshot("one", "before", 86_400), BrowsedSnapshot("gone", "gone", 0)], browse)
    async for answer in SftpServer(root).serve(incoming()):
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
