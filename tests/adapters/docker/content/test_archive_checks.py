"""What would leave its folder, or replace something of others, is refused by name."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from netvps.adapters.docker.content.archive_checks import check_files, check_image
from netvps.adapters.docker.content.tar_members import BadArchive

FOLDER, LINK, HARD, DEVICE = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE


def _entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    for key, value in fields.items():
        setattr(made, key, value)
    return made


def _packed(path: Path, *entries: tarfile.TarInfo, root: bool = True) -> Path:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in (*([_entry(".", FOLDER)] if root else []), *entries):
            archive.addfile(entry)
    path.write_bytes(packed.getvalue())
    return path


def _check(path: Path, *entries: tarfile.TarInfo) -> None:
    check_files(_packed(path, *entries), {}, lambda: False)


def test_what_a_session_holds_is_fine(tmp_path: Path) -> None:
    _check(
        tmp_path / "x",
        _entry("./etc", FOLDER),
        _entry("./etc/hosts"),
        _entry("./etc/again", HARD, "./etc/hosts"),
        _entry("./etc/outward", LINK, "/etc/shadow"),
        _entry("./etc/gone", DEVICE),
        _entry("./null", DEVICE, devmajor=1, devminor=3),
        _entry("./..hidden", FOLDER, pax_headers={"SCHILY.xattr.trusted.overlay.opaque": "y"}),
    )


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ([_entry("../x")], "leads out"),
        ([_entry("./a", FOLDER), _entry("./a/../../x")], "leads out"),
        ([_entry("/etc/passwd")], "leads out"),
        ([_entry("etc")], "leads out"),
        ([_entry("./a", LINK, "/etc"), _entry("./a/passwd")], "not in a folder"),
        ([_entry("./a", FOLDER), _entry("./a", LINK, "/etc"), _entry("./a/passwd")], "comes twice"),
        ([_entry("./a/b")], "not in a folder"),
        ([_entry("./a", HARD, "/etc/shadow")], "leads out"),
        ([_entry("./a", HARD, "../../etc/shadow")], "leads out"),
        ([_entry("./l", LINK, "/etc"), _entry("./a", HARD, "./l/shadow")], "links to what is not in the archive"),
        ([_entry("./sda", tarfile.BLKTYPE, devmajor=8)], "is a device"),
        ([_entry("./mem", DEVICE, devmajor=1, devminor=1)], "is a device"),
        ([_entry("./a", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": "/../x"})], "has the attribute"),
        ([_entry("./a", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.name": "../x"})], "leads out"),
    ],
)
def test_what_leads_out_of_its_folder_is_refused(tmp_path: Path, entries: list[tarfile.TarInfo], says: str) -> None:
    with pytest.raises(BadArchive, match=says):
        _check(tmp_path / "x", *entries)


def test_each_volume_is_checked_and_nothing_is_between(tmp_path: Path) -> None:
    one = _packed(tmp_path / "one", _entry("./a")).read_bytes()
    both = tmp_path / "both"
    both.write_bytes(one + one)
    check_files(both, {"/data": len(one)}, lambda: False)
    with pytest.raises(BadArchive, match="follows"):
        check_files(both, {}, lambda: False)
    both.write_bytes(one + _packed(tmp_path / "two", _entry("../a")).read_bytes())
    with pytest.raises(BadArchive, match="leads out"):
        check_files(both, {"/data": len(one)}, lambda: False)
    with pytest.raises(BadArchive, match="begin with its folder"):
        check_files(_packed(tmp_path / "bare", _entry("./a"), root=False), {}, lambda: False)


def test_so_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.docker.content.archive_checks.MAX_ENTRIES", 3)
    with pytest.raises(BadArchive, match="more than 3 files"):
        _check(tmp_path / "x", *(_entry(f"./{number}") for number in range(3)))


class Image:
    """An archive as `docker save` writes it, which a test may damage."""

    def __init__(self) -> None:
        self.layer = b"layer"
        self.config = json.dumps(
            {"rootfs": {"diff_ids": [f"sha256:{hashlib.sha256(self.layer).hexdigest()}"]}}
        ).encode()
        self.id = f"sha256:{hashlib.sha256(self.config).hexdigest()}"
        self.listed: list[dict[str, Any]] = [{"Config": "c.json", "RepoTags": None, "Layers": ["l/layer.tar"]}]
        self.more: dict[str, bytes] = {}

    def check(self, path: Path) -> None:
        files = {"manifest.json": json.dumps(self.listed).encode(), "c.json": self.config, "l/layer.tar": self.layer}
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
            for name, content in (files | self.more).items():
                entry = _entry(name, size=len(content))
                archive.addfile(entry, io.BytesIO(content))
        check_image(path, self.id)


def test_exactly_the_image_that_is_named_is_taken(tmp_path: Path) -> None:
    path = tmp_path / os.urandom(4).hex()
    image = Image()
    image.check(path)
    image.layer = b"other"
    with pytest.raises(BadArchive, match="layer of its image is damaged"):
        image.check(path)
    image = Image()
    image.config += b" "
    with pytest.raises(BadArchive, match="another one than it says"):
        image.check(path)
    image = Image()
    image.listed *= 2
    with pytest.raises(BadArchive, match="not exactly one image"):
        image.check(path)


@pytest.mark.parametrize("how", ["tags", "repositories", "index"])
def test_an_image_that_would_take_the_name_of_another_is_refused(tmp_path: Path, how: str) -> None:
    image = Image()
    match how:
        case "tags":
            image.listed[0]["RepoTags"] = ["debian:12"]
        case "repositories":
            image.more["repositories"] = b'{"debian":{"12":"x"}}'
        case "index":
            named = {"annotations": {"io.containerd.image.name": "debian:12"}}
            image.more["index.json"] = json.dumps({"manifests": [named]}).encode()
    with pytest.raises(BadArchive, match="replace other images"):
        image.check(tmp_path / "image")
