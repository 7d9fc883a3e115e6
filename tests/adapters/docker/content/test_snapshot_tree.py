"""A snapshot's archive, as GNU tar writes it, read as a tree of files."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from netvps.adapters.docker.content import snapshot_tree
from netvps.adapters.docker.content.snapshot_tree import SnapshotTree, _Room
from netvps.adapters.docker.files.archives import Note
from netvps.errors import Exhausted

if TYPE_CHECKING:
    from pathlib import Path

ODD = "a b\n\udcff;ü"
"""A space, a line feed, a byte that is not UTF-8."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What a session wrote."""
    folder = tmp_path / "files"
    (folder / "etc" / "deep").mkdir(parents=True)
    (folder / "etc/passwd").write_text("root\n")
    (folder / "etc/twin").hardlink_to(folder / "etc/passwd")
    (folder / "etc/deep" / ODD).write_bytes(b"odd")
    (folder / "etc/out").symlink_to("../../../etc/shadow")
    (folder / "etc/empty").touch(mode=0o600)
    os.utime(folder / "etc/passwd", (9, 9))
    with (folder / "holes").open("wb") as holes:
        holes.truncate(3 << 20)
        holes.seek(1 << 20)
        holes.write(b"x" * 5000)
        holes.seek((2 << 20) + 100)
        holes.write(b"y" * 100)
    return folder


def packed(folder: Path, archive: Path) -> Path:
    argv = ["tar", "--create", "--format=posix", "--sparse", "--numeric-owner", "-C", str(folder), "."]
    with archive.open("ab") as output:
        subprocess.run(argv, stdout=output, check=True)
    return archive


def note(**volumes: int) -> Note:
    return Note("run", "image", "", "x.tar", "", "", {f"/{name}": begin for name, begin in volumes.items()})


def tree_of(archive: Path, **volumes: int) -> SnapshotTree:
    return SnapshotTree(note(**volumes), archive, _Room())


def test_files_folders_and_links_are_as_they_were(files: Path, tmp_path: Path) -> None:
    tree = tree_of(packed(files, tmp_path / "x.tar"))
    assert [one.name for one in tree.entries("/")] == ["etc", "holes"]
    assert [one.name for one in tree.entries("/etc/")] == ["deep", "empty", "out", "passwd", "twin"]
    passwd, link = tree.entry("/etc/passwd"), tree.entry("/etc/out")
    assert (passwd.size, passwd.mtime, stat.S_ISREG(passwd.mode)) == (5, 9, True)
    assert (stat.S_ISLNK(link.mode), link.target) == (True, "../../../etc/shadow")
    assert tree.read("/etc/passwd", 0, 100) == tree.read("/etc/twin", 0, 100) == b"root\n"
    assert tree.read("/etc/passwd", 1, 3) == b"oot"
    assert tree.read("/etc/passwd", 1 << 62, 3) == tree.read("/etc/empty", 0, 9) == b""
    assert tree.read(f"/etc/deep/{ODD}", 0, 9) == b"odd"
    assert stat.S_IMODE(tree.entry("/etc/empty").mode) == 0o600
    tree.close()


def test_files_with_holes_read_as_a_file_system_reads_them(files: Path, tmp_path: Path) -> None:
    tree, size = tree_of(packed(files, tmp_path / "x.tar")), 3 << 20
    assert tree.entry("/holes").size == size
    whole = b"".join(tree.read("/holes", at, 30_000) for at in range(0, size, 30_000))
    assert whole == (files / "holes").read_bytes()
    assert tree.read("/holes", (2 << 20) + 150, 100) == b"y" * 50 + bytes(50)
    tree.close()


def test_volumes_are_where_the_container_has_them(files: Path, tmp_path: Path) -> None:
    archive = packed(files, tmp_path / "x.tar")
    begin = archive.stat().st_size
    tree = tree_of(packed(files / "etc/deep", archive), **{"var/lib/db": begin})
    assert tree.read(f"/var/lib/db/{ODD}", 0, 9) == b"odd"
    assert [one.name for one in tree.entries("/var/lib")] == ["db"]
    assert [one.name for one in tree.entries("/")] == ["etc", "holes", "var"]
    tree.close()


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/etc/gone", FileNotFoundError),
        ("/etc/out/x", FileNotFoundError),  # no link is followed
        ("/etc/passwd/x", FileNotFoundError),
        ("/../../etc/shadow", FileNotFoundError),
        ("/etc", IsADirectoryError),
        ("/etc/out", OSError),
    ],
)
def test_nothing_else_is_read(files: Path, tmp_path: Path, path: str, error: type[OSError]) -> None:
    tree = tree_of(packed(files, tmp_path / "x.tar"))
    with pytest.raises(error):
        tree.read(path, 0, 9)
    tree.close()


def test_it_stays_readable_when_it_is_deleted(files: Path, tmp_path: Path) -> None:
    archive = packed(files, tmp_path / "x.tar")
    tree = tree_of(archive)
    archive.unlink()
    assert tree.read("/etc/passwd", 0, 9) == b"root\n"
    tree.close()
    with pytest.raises((OSError, ValueError)):
        tree.read("/etc/passwd", 0, 9)


def test_all_that_are_open_share_a_limit(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_tree, "MAX_INDEXED", 10)
    archive, room = packed(files, tmp_path / "x.tar"), _Room()
    first = SnapshotTree(note(), archive, room)
    with pytest.raises(Exhausted, match="more than 10 files"):
        SnapshotTree(note(), archive, room)
    first.close()
    first.close()
    SnapshotTree(note(), archive, room).close()
    assert room._used == 0
