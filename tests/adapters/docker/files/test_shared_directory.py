"""A directory that machines share as a holder of snapshots. No engine is needed for that."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.docker.errors import ImageImportFailed, ImageNotFound
from netvps.adapters.docker.files import shared_directory
from netvps.adapters.docker.files.shared_directory import SharedDirectory
from netvps.domain.runner.docker_names import snapshot_tarball
from netvps.domain.snapshot.copies import CopyPart
from netvps.errors import ConfigError, DataLoss, TimedOut, Unavailable
from tests.adapters.docker.files.test_travelling import FILES, IMAGE, IMAGE_ID, OTHER, SESSION, UID, Place

if TYPE_CHECKING:
    from netvps.adapters.docker.files.travelling import Travelling

OWNER = "000000000000r"
TARBALL = snapshot_tarball(SESSION, UID)


@pytest.fixture
def source(tmp_path: Path) -> Place:
    made = Place(tmp_path / "source")
    made.keep()
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "nas"
    made.mkdir()
    return made


@pytest.fixture
def nas(folder: Path) -> SharedDirectory:
    made = SharedDirectory(folder, OWNER)
    made.claim()
    return made


async def _copy(to: Travelling | SharedDirectory, of: Travelling | SharedDirectory, uid: str = UID) -> None:
    async def whole(part: CopyPart) -> bytes:
        async with aclosing(of.read(SESSION, uid, part, 0)) as pieces:
            return b"".join([piece async for piece in pieces])

    arrival = await to.arriving(SESSION, uid, await whole(CopyPart.NOTE))
    for part in await to.missing(arrival):
        async with aclosing(of.read(SESSION, uid, part.part, part.have)) as pieces:
            await to.receive(arrival, part.part, pieces, lambda _: None)
    await to.finish(arrival)


async def test_a_snapshot_is_a_tarball_with_a_digest_and_comes_back_equal(
    source: Place, nas: SharedDirectory, folder: Path, tmp_path: Path
) -> None:
    await _copy(nas, source.travelling)
    assert nas.is_here(SESSION, UID)
    assert (folder / "snapshots" / TARBALL).read_bytes() == FILES
    line = (folder / "snapshots" / f"{TARBALL}.sha256").read_text()
    assert line == f"{hashlib.sha256(FILES).hexdigest()}  {TARBALL}\n"  # for `sha256sum -c`
    assert list((folder / "incoming").iterdir()) == []
    back = Place(tmp_path / "back")
    await _copy(back.travelling, nas)
    assert back.snapshots.find(SESSION) == source.snapshots.find(SESSION)
    assert back.archives.image_file(IMAGE_ID).read_bytes() == IMAGE
    await nas.drop(SESSION, UID)
    assert list((folder / "snapshots").iterdir()) == []
    with pytest.raises(ImageNotFound):
        await _copy(back.travelling, nas)


async def test_the_same_files_are_stored_once(source: Place, nas: SharedDirectory, folder: Path) -> None:
    source.keep(OTHER)
    await _copy(nas, source.travelling)
    await _copy(nas, source.travelling, OTHER)
    one, two = (folder / "snapshots" / snapshot_tarball(SESSION, uid) for uid in (UID, OTHER))
    assert one.samefile(two)


async def test_a_damaged_tarball_is_found_by_who_copies_it(
    source: Place, nas: SharedDirectory, folder: Path, tmp_path: Path
) -> None:
    await _copy(nas, source.travelling)
    archive = folder / "snapshots" / TARBALL
    archive.write_bytes(FILES[:-1] + b"?")
    with pytest.raises(DataLoss, match="its checksum does not match"):
        await _copy(Place(tmp_path / "back").travelling, nas)


async def test_a_mount_that_is_gone_is_not_written_to(
    source: Place, nas: SharedDirectory, folder: Path, tmp_path: Path
) -> None:
    await _copy(nas, source.travelling)
    folder.rename(tmp_path / "unmounted")
    folder.mkdir()  # the empty folder below it
    words = "is not mounted, or not readable: mount it again; copies on other runners are used"
    with pytest.raises(Unavailable, match=words):
        nas.is_here(SESSION, UID)
    with pytest.raises(Unavailable, match=words):
        await _copy(Place(tmp_path / "back").travelling, nas)
    with pytest.raises(Unavailable, match=words):
        await _copy(nas, source.travelling)
    with pytest.raises(Unavailable, match=words):
        await nas.drop(SESSION, UID)
    assert list(folder.iterdir()) == []


async def test_one_that_cannot_be_written_says_so(source: Place, nas: SharedDirectory, folder: Path) -> None:
    shutil.rmtree(folder / "incoming", ignore_errors=True)
    (folder / "incoming").write_text("a file: root may write to what is only readable")
    with pytest.raises(ImageImportFailed, match=r"cannot use what is here of the snapshot: .* \(.*/incoming\)"):
        await _copy(nas, source.travelling)


async def test_one_that_does_not_answer_is_not_waited_for(
    source: Place, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SharedDirectory(folder, OWNER, seconds=0.05)
    slow.claim()
    stuck = threading.Event()
    monkeypatch.setattr(SharedDirectory, "_require", lambda _: stuck.wait(30))
    with pytest.raises(TimedOut, match=r"did not answer within 0 s: check the server of these files"):
        await _copy(slow, source.travelling)
    stuck.set()
    await asyncio.sleep(0)


def test_a_directory_has_one_runner(folder: Path) -> None:
    SharedDirectory(folder, OWNER).claim()
    SharedDirectory(folder, OWNER).claim()  # it starts again
    with pytest.raises(ConfigError, match=f"belongs to runner {OWNER}: give each runner a directory of its own"):
        SharedDirectory(folder, "another").claim()
    (folder / shared_directory._MARK).unlink()
    (folder / "photos").mkdir()
    with pytest.raises(ConfigError, match="give an empty directory that is mounted"):
        SharedDirectory(folder, OWNER).claim()
    with pytest.raises(ConfigError, match="cannot be used for snapshots: No such file or directory"):
        SharedDirectory(folder / "none", OWNER).claim()
