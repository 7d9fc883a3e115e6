"""Parts on their way to this machine. How snapshots use them is in test_travelling.py."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from netvps.adapters.docker.errors import ImageImportFailed
from netvps.adapters.docker.files.incoming import Incoming
from netvps.errors import DataLoss

CONTENT = b"0123456789"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 4):
        yield content[start : start + 4]


@pytest.fixture
def incoming(tmp_path: Path) -> Incoming:
    made = Incoming(tmp_path / "incoming")
    made.prepare()
    return made


async def _receive(incoming: Incoming, content: bytes) -> Path:
    return await incoming.receive(SHA256, len(CONTENT), _pieces(content), lambda _: None, "the part")


async def test_a_part_is_appended_to_and_counts_once_it_is_complete(incoming: Incoming) -> None:
    with pytest.raises(ImageImportFailed, match="it goes on where it ended"):
        await _receive(incoming, CONTENT[:4])
    assert incoming.have(SHA256) == 4
    assert (await _receive(incoming, CONTENT[4:])).read_bytes() == CONTENT
    assert (await _receive(incoming, b"")).read_bytes() == CONTENT  # complete already


async def test_what_has_another_digest_is_removed(incoming: Incoming) -> None:
    with pytest.raises(DataLoss, match="the part arrived damaged"):
        await _receive(incoming, b"x" * len(CONTENT))
    assert incoming.have(SHA256) == 0


def test_what_was_abandoned_is_removed_after_a_day(incoming: Incoming) -> None:
    for number, age in enumerate((0, 100_000)):
        path = incoming.path(str(number))
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    incoming.discard_abandoned()
    assert [path.name for path in incoming.folder.iterdir()] == ["0.part"]
