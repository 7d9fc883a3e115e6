"""A snapshot travels as a file to another runner's state: so of netvps.adapters.docker.content.archive_export, too."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from netvps.adapters.docker.content.archive_import import ArchiveReader
from netvps.adapters.docker.engine import DockerEngine
from netvps.domain.runner.docker_names import restore_name
from netvps.domain.snapshot.archive import Blob, SnapshotArchive, documents
from netvps.domain.snapshot.exchange import ExportOrder
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.errors import DataLoss, InvalidInput, NetvpsError
from tests.adapters.docker.bench import Bench, opened_bench

OTHER, UID = "000000000000s", "0000000000001"
WRITES = (
    "mkdir /mine && echo kept >/mine/file && ln /mine/file /mine/again && rm /etc/passwd "
    "&& head -c 300000 /dev/urandom >/mine/big"
)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(tmp_path) as made:
        yield made


async def _pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def _exported(bench: Bench) -> bytes:
    container = await bench.lived(bench.assignment.spec.image, WRITES)
    uid = bench.assignment.session_uid
    assert await bench.engine.take_snapshot(bench.assignment, uid, container, lambda: False)
    order = ExportOrder(uid, "one", "dev1.ann")
    pieces = [piece async for piece in bench.engine.export(uid, order)]
    assert max(map(len, pieces)) <= 65_536
    return b"".join(pieces)


@pytest.mark.docker
async def test_an_archive_is_imported_elsewhere_and_restored(bench: Bench, tmp_path: Path) -> None:
    archive = await _exported(bench)
    elsewhere = DockerEngine(bench.docker, node=bench.node, node_name="there", copies=tmp_path / "there")
    saved = await elsewhere.take_in(OTHER, UID, _pieces(archive))
    assert (saved.uid, saved.size_bytes > 300_000) == (UID, True)
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["images", "imports", "snapshots"]
    assert list((tmp_path / "there/imports").iterdir()) == []
    below = await elsewhere.provide_below(OTHER, UID, lambda _: None)
    again = [piece async for piece in elsewhere.export(OTHER, ExportOrder(UID, "one", "dev1.ann"))]
    assert b"".join(again) == archive  # nothing was lost, not even a time
    plan = replace(bench.plan_for(OTHER, below), binds=())
    await elsewhere.make_from(plan, SnapshotSource(UID, OTHER))
    try:
        found = await bench.docker.call("x", lambda api: api.inspect_container(restore_name(OTHER)))
        upper = Path(found["GraphDriver"]["Data"]["UpperDir"])
        assert (upper / "mine/file").read_text() == "kept\n"
        assert (upper / "mine/file").stat().st_nlink == 2
        assert (upper / "etc/passwd").is_char_device()
    finally:
        await elsewhere.erase(OTHER)


@pytest.mark.docker
async def test_damaged_archives_are_refused_and_leave_nothing(bench: Bench, tmp_path: Path) -> None:
    archive = await _exported(bench)
    plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive)).read()
    compress = zstandard.ZstdCompressor(level=1).compress
    middle = plain.rindex(b"kept\n")

    def flipped(at: int) -> bytes:
        return plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :]

    cases: list[tuple[bytes, type[NetvpsError], str]] = [
        (archive[:-70_000], DataLoss, "cut off"),
        (archive[: len(archive) // 2], DataLoss, "cut off"),
        (compress(flipped(middle)), DataLoss, "checksum of blobs/sha256/"),
        (compress(plain + b"more"), InvalidInput, "follows its end"),
        (compress(plain.replace(b'"version":1', b'"version":2')), DataLoss, "checksum of blobs/sha256/"),
        (b"PK\x03\x04 no archive", InvalidInput, "not compressed by zstd"),
        (compress(b"no archive" * 200), InvalidInput, "not a tar archive"),
        (b"", InvalidInput, "is empty"),
    ]
    elsewhere = DockerEngine(bench.docker, node=bench.node, node_name="there", copies=tmp_path / "there")
    for data, kind, says in cases:
        with pytest.raises(kind, match=says):
            await elsewhere.take_in(OTHER, UID, _pieces(data))
    assert [path for path in (tmp_path / "there").rglob("*") if path.is_file()] == []
    stored = tmp_path / "copies/snapshots" / f"{bench.assignment.session_uid}-{bench.assignment.session_uid}.tar"
    content = bytearray(stored.read_bytes())
    content[content.rindex(b"kept\n")] ^= 1
    stored.write_bytes(content)
    with pytest.raises(DataLoss, match="damaged"):
        [
            _
            async for _ in bench.engine.export(
                bench.assignment.session_uid, ExportOrder(bench.assignment.session_uid, "one", "x")
            )
        ]


def _reader(tmp_path: Path, need: Callable[[int], None] = lambda _: None) -> ArchiveReader:
    return ArchiveReader(tmp_path, need, "amd64")


def _fed(reader: ArchiveReader, plain: bytes) -> None:
    reader.feed(zstandard.ZstdCompressor(level=1).compress(plain))
    reader.finish()


def _documents(about: SnapshotArchive) -> bytes:
    from netvps.adapters.docker.content.archive_export import _header, _padding

    return b"".join(_header(name, len(one)) + one + _padding(len(one)) for name, one in documents(about))


def _about(size: int = 512, architecture: str = "amd64") -> SnapshotArchive:
    digest = f"sha256:{'a' * 64}"
    time = "2026-01-01T00:00:00+00:00"
    return SnapshotArchive("one", "x", architecture, digest, f"x@{digest}", Blob(digest, size), None, time)


def test_another_machines_archive_is_refused_before_its_files_come(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="on riscv64, and this runner's machine is amd64"):
        _fed(_reader(tmp_path), _documents(_about(architecture="riscv64")))


def test_room_for_all_of_it_is_asked_for_before_its_files_come(tmp_path: Path) -> None:
    asked: list[int] = []
    with pytest.raises(DataLoss, match="cut off"):
        _fed(_reader(tmp_path, asked.append), _documents(_about(1 << 39)))
    assert asked == [1 << 39]


def test_a_bomb_is_refused_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.docker.content.archive_import._FREE_BYTES", 1 << 20)
    from netvps.adapters.docker.content.archive_export import _header

    size = 1 << 30
    bomb = _documents(_about(size)) + _header(f"blobs/sha256/{'a' * 64}", size) + bytes(64 << 20)
    with pytest.raises(InvalidInput, match="more than 2000 times its size"):
        _fed(_reader(tmp_path), bomb)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 64 << 20


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "index.json", "blobs/sha256/x"])
def test_only_the_members_that_have_to_come_are_taken(tmp_path: Path, name: str) -> None:
    from netvps.adapters.docker.content.archive_export import _header

    with pytest.raises(InvalidInput, match="where 'oci-layout' has to be"):
        _fed(_reader(tmp_path), _header(name, 4) + b"evil".ljust(512, b"\0"))
    assert list(tmp_path.iterdir()) == []
