"""Snapshots from one folder to another: netvps.adapters.docker.files.travelling. No engine is needed for that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from netvps.adapters.docker.errors import ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files.archives import Archives, Note
from netvps.adapters.docker.files.copies import Copies
from netvps.adapters.docker.files.snapshot_archives import SnapshotArchives
from netvps.adapters.docker.files.travelling import Travelling
from netvps.domain.snapshot.copies import CopyPart, MissingPart
from netvps.errors import DataLoss

SESSION, UID, OTHER = "000000000000s", "0000000000001", "0000000000002"
FILES, IMAGE = bytes(range(256)) * 4096, b"image" * 100_000
IMAGE_ID = "sha256:" + "a" * 64
TIME = "2026-11-30T00:00:00+00:00"


class Place:
    """The folder of a runner."""

    def __init__(self, folder: Path) -> None:
        docker = cast("Any", None)
        self.folder = folder
        self.archives = Archives(folder)
        self.snapshots = SnapshotArchives(docker, self.archives, Copies(docker, self.archives))
        self.travelling = Travelling(self.archives, self.snapshots, docker)

    def keep(self, uid: str = UID, files: bytes = FILES) -> None:
        """A snapshot that was taken here."""
        archive = self.snapshots.archive(SESSION, uid)
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(files)
        image = self.archives.image_file(IMAGE_ID)
        image.parent.mkdir(exist_ok=True)
        image.write_bytes(IMAGE)
        sha256 = hashlib.sha256(files).hexdigest()
        note = Note("run", IMAGE_ID, "", archive.name, sha256, TIME, {"/data": 512}, 7, ("a warning",))
        self.snapshots.put_note(SESSION, uid, note)

    async def fetch(self, source: Place, uid: str = UID) -> list[MissingPart]:
        """Copies a snapshot from there; returns what was missing."""
        here = self.travelling
        arrival = await here.arriving(SESSION, uid, await source.travelling.describe(SESSION, uid))
        parts = await here.missing(arrival)
        for part in parts:
            async with aclosing(source.travelling.read(SESSION, uid, part.part, part.have)) as pieces:
                await here.receive(arrival, part.part, pieces, lambda _: None)
        await here.finish(arrival)
        return parts


@pytest.fixture
def source(tmp_path: Path) -> Place:
    made = Place(tmp_path / "source")
    made.keep()
    return made


@pytest.fixture
def target(tmp_path: Path) -> Place:
    return Place(tmp_path / "target")


async def test_a_copy_is_equal_and_what_is_here_is_not_sent_again(source: Place, target: Place) -> None:
    parts = await target.fetch(source)
    assert [(part.part, part.size, part.have) for part in parts] == [
        (CopyPart.FILES, len(FILES), 0),
        (CopyPart.IMAGE, len(IMAGE), 0),
    ]
    assert target.travelling.is_here(SESSION, UID)
    assert target.snapshots.find(SESSION) == source.snapshots.find(SESSION)
    assert target.snapshots.archive(SESSION, UID).read_bytes() == FILES
    assert target.archives.image_file(IMAGE_ID).read_bytes() == IMAGE
    assert list((target.folder / "incoming").iterdir()) == []
    source.keep(OTHER)
    assert await target.fetch(source, OTHER) == []  # the same bytes: one file with two names
    assert target.snapshots.archive(SESSION, OTHER).samefile(target.snapshots.archive(SESSION, UID))
    source.keep(OTHER, b"other files" * 100)
    target.snapshots.drop(SESSION, OTHER)
    assert [part.part for part in await target.fetch(source, OTHER)] == [CopyPart.FILES]


async def test_what_is_here_counts_only_if_it_is_whole(source: Place, target: Place) -> None:
    await target.fetch(source)
    archive = target.snapshots.archive(SESSION, UID)
    archive.write_bytes(FILES[:-1] + b"?")
    source.keep(OTHER)
    assert [part.part for part in await target.fetch(source, OTHER)] == [CopyPart.FILES]


async def test_an_interrupted_transfer_goes_on_where_it_ended(source: Place, target: Place) -> None:
    here = target.travelling
    arrival = await here.arriving(SESSION, UID, await source.travelling.describe(SESSION, UID))
    (files, _) = await here.missing(arrival)

    async def half() -> AsyncIterator[bytes]:
        yield FILES[:1000]

    got: list[int] = []
    with pytest.raises(ImageImportFailed, match="ended early: it goes on where it ended"):
        await here.receive(arrival, files.part, half(), got.append)
    assert got == [1000]
    assert not here.is_here(SESSION, UID)
    again = Place(target.folder)
    assert [part.have for part in await again.fetch(source)] == [1000, 0]
    assert again.snapshots.archive(SESSION, UID).read_bytes() == FILES


@pytest.mark.parametrize("part", [CopyPart.FILES, CopyPart.IMAGE])
async def test_a_flipped_bit_is_found_and_nothing_is_kept(source: Place, target: Place, part: CopyPart) -> None:
    description = await source.travelling.describe(SESSION, UID)
    damaged = source.snapshots.archive(SESSION, UID) if part is CopyPart.FILES else source.archives.image_file(IMAGE_ID)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    arrival = await target.travelling.arriving(SESSION, UID, description)
    await target.travelling.missing(arrival)
    async with aclosing(source.travelling.read(SESSION, UID, part, 0)) as pieces:
        with pytest.raises(DataLoss, match="arrived damaged: its checksum does not match"):
            await target.travelling.receive(arrival, part, pieces, lambda _: None)
    assert not target.travelling.is_here(SESSION, UID)
    assert list((target.folder / "incoming").iterdir()) == []


async def test_a_resumed_one_that_is_damaged_begins_again(source: Place, target: Place) -> None:
    """It is not known which end damaged it."""
    arrival = await target.travelling.arriving(SESSION, UID, await source.travelling.describe(SESSION, UID))
    await target.travelling.missing(arrival)
    (target.folder / "incoming" / f"{arrival.note.sha256}.part").write_bytes(b"?" * 1000)
    with pytest.raises(ImageImportFailed, match="it begins again"):
        await target.fetch(source)
    assert [part.have for part in await target.fetch(source)] == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"image": "sha256:../../x"},
        {"sha256": "../x"},
        {"registry": "-x"},
        {"files_size": -1},
        {"volumes": {"data": 1}},
        {"volumes": {"/data": len(FILES) + 1}},
        {"image_sha256": ""},
        {"run": "x" * 1000},
        {"foreign": 1},
        {"files_size": "many"},
    ],
)
async def test_a_damaged_description_is_refused(source: Place, target: Place, change: dict[str, object]) -> None:
    said = json.loads(await source.travelling.describe(SESSION, UID)) | change
    with pytest.raises(DataLoss, match="the description of the snapshot is damaged"):
        await target.travelling.arriving(SESSION, UID, json.dumps(said).encode())


async def test_another_version_says_what_to_upgrade(source: Place, target: Place) -> None:
    said = json.loads(await source.travelling.describe(SESSION, UID)) | {"version": 2}
    with pytest.raises(ImageImportFailed, match="of version 2, and this runner knows 1: upgrade the older runner"):
        await target.travelling.arriving(SESSION, UID, json.dumps(said).encode())


async def test_what_is_not_here_is_not_sent(source: Place) -> None:
    with pytest.raises(ImageNotFound, match="is not on this machine"):
        await source.travelling.describe(SESSION, OTHER)
    with pytest.raises(ImageNotFound):
        async with aclosing(source.travelling.read(SESSION, OTHER, CopyPart.FILES, 0)) as pieces:
            await anext(pieces)


async def test_a_dropped_one_leaves_nothing(source: Place, target: Place) -> None:
    await target.fetch(source)
    await target.travelling.drop(SESSION, UID)
    await target.travelling.drop(SESSION, UID)
    assert target.snapshots.sessions() == frozenset()


async def test_what_another_writer_adds_is_found(source: Place, target: Place) -> None:
    arrival = await target.travelling.arriving(SESSION, UID, await source.travelling.describe(SESSION, UID))
    await target.travelling.missing(arrival)

    async def disturbed() -> AsyncIterator[bytes]:
        yield FILES[:1000]
        with (target.folder / "incoming" / f"{arrival.note.sha256}.part").open("ab") as other:
            other.write(b"?" * 10)
        yield FILES[1000:]

    with pytest.raises(ImageImportFailed, match="what is on disk is not what arrived"):
        await target.travelling.receive(arrival, CopyPart.FILES, disturbed(), lambda _: None)
    assert not target.travelling.is_here(SESSION, UID)
    assert [part.have for part in await target.fetch(source)] == [0, 0]
