"""Archives as GNU tar writes them are read; anything else is refused."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.adapters.docker.content.tar_members import BadArchive, Member, members


def _packed(folder: Path) -> bytes:
    command = ["tar", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--sparse", "--format=posix"]
    return subprocess.run([*command, "-C", str(folder), "-cf", "-", "."], check=True, capture_output=True).stdout


def _read(data: bytes) -> list[Member]:
    return list(members(io.BytesIO(data), 0, len(data)))


def _made(folder: Path) -> Path:
    (folder / "a").mkdir()
    (folder / "a/file").write_bytes(b"hello")
    os.link(folder / "a/file", folder / "a/hard")
    (folder / "a/soft").symlink_to("/etc/" + "x" * 150)
    (folder / "a" / ("n" * 200)).write_bytes(b"long")
    with (folder / "holes").open("wb") as sparse:
        sparse.truncate(4 << 20)
    os.setxattr(folder / "a/file", "user.note", b"a=b\nc\x00d")
    os.utime(folder / "a/file", ns=(1, 1_700_000_000_123_456_789))
    (folder / os.fsdecode(b"caf\xe9")).touch()
    return folder


def test_what_gnu_tar_writes_is_read_whole(tmp_path: Path) -> None:
    found = {member.path: member for member in _read(_packed(_made(tmp_path)))}
    assert sorted(found) == sorted(
        ["/", "/a", "/a/file", "/a/hard", "/a/soft", "/a/" + "n" * 200, "/holes", os.fsdecode(b"/caf\xe9")]
    )
    first, second = sorted((found["/a/file"], found["/a/hard"]), key=lambda member: -member.kind)
    assert (first.kind, first.size, first.mtime_ns) == (stat.S_IFREG, 5, 1_700_000_000_123_456_789)
    assert first.xattrs == {"user.note": b"a=b\nc\x00d"}
    assert (second.kind, second.target) == (0, first.name)
    assert found["/a/soft"].target == "/etc/" + "x" * 150
    assert (found["/holes"].size, found["/holes"].stored) == (4 << 20, 512)


def test_archives_end_to_end_are_read_one_by_one(tmp_path: Path) -> None:
    data = _packed(_made(tmp_path))
    both = io.BytesIO(data * 2)
    first, second = ([one.path for one in members(both, at, at + len(data))] for at in (0, len(data)))
    assert first == second
    with pytest.raises(BadArchive, match="follows"):
        _read(data * 2)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_other_forms_of_tar_are_refused_or_plain(form: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("./plain"))
        archive.addfile(tarfile.TarInfo("./" + "/".join(["y" * 90] * 2)))
    if form == tarfile.USTAR_FORMAT:
        assert [one.path for one in _read(packed.getvalue())] == ["/plain", "/" + "/".join(["y" * 90] * 2)]
    else:
        with pytest.raises(BadArchive):
            _read(packed.getvalue())


def test_a_name_given_twice_is_refused() -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("./x")
        entry.pax_headers = {"comment": "who reads this?"}
        archive.addfile(entry)
    with pytest.raises(BadArchive, match="'comment', doubled or unknown"):
        _read(packed.getvalue())


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_is_refused_or_changes_content_only(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """No flipped bit and no cut makes anything else than BadArchive, or another name without a wrong checksum."""
    whole = _WHOLE.get("") or _WHOLE.setdefault("", _packed(_made(tmp_path_factory.mktemp("made"))))
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(whole.rstrip(b"\0"))))  # the end is padded with zeros
    with suppress(BadArchive):
        _read(bytes(damaged))
    with pytest.raises(BadArchive):
        _read(whole[:cut])


_WHOLE: dict[str, bytes] = {}
