"""Walks of a folder that changes, and the image below it. Whiteouts and trusted attributes need root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netvps.adapters.docker.content.walk import Below, Walk, is_excluded

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes overlayfs's marks")


def _file(path: Path, content: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def _whiteout(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mknod(path, 0o020000, 0)


def test_everything_below_is_found_once_and_no_link_is_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    _file(root / "a/b", "hello")
    os.link(root / "a/b", root / "a/linked")
    _whiteout(root / "a/gone")
    _file(outside / "secret")
    (root / "out").symlink_to(outside)
    (root / "new").mkdir()
    os.setxattr(root / "new", "trusted.overlay.opaque", b"y")
    _file(root / "new/inside")
    found = {one.path: one for one in Walk().below(str(root))}
    assert sorted(found) == ["/a", "/a/b", "/a/gone", "/a/linked", "/new", "/new/inside", "/out"]
    assert found["/a/gone"].trait.gone
    assert (found["/new"].opaque, found["/new"].names) == (True, ("inside",))
    assert sorted(found[path].trait.size_bytes > 0 for path in ("/a/b", "/a/linked")) == [False, True]


def test_a_folder_that_becomes_a_link_meanwhile_is_not_entered(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    _file(outside / "secret")
    for name in ("a", "b"):
        _file(root / name / "x")
    walk = Walk().below(str(root))
    seen = [next(walk).path]
    (root / "b").rename(tmp_path / "away")
    (root / "b").symlink_to(outside)
    seen += [one.path for one in walk]
    assert seen == ["/a", "/a/x", "/b"]


def test_a_walk_ends_at_its_limits(tmp_path: Path) -> None:
    for number in range(9):
        _file(tmp_path / f"{number}")
    few, late = Walk(entries=4), Walk(seconds=-1)
    assert (len(list(few.below(str(tmp_path)))), few.incomplete) == (4, True)
    assert (list(late.below(str(tmp_path))), late.incomplete) == ([], True)
    whole = Walk(entries=9)
    assert (len(list(whole.below(str(tmp_path)))), whole.incomplete) == (9, False)


def test_folders_deeper_than_is_sane_are_left_out(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 200)
    deep.mkdir(parents=True)
    walk = Walk()
    assert 0 < len(list(walk.below(str(tmp_path)))) < 200
    assert walk.incomplete


def test_the_image_below_has_what_its_layers_merge_to(tmp_path: Path) -> None:
    top, base, outside = tmp_path / "top", tmp_path / "base", tmp_path / "outside"
    _file(base / "etc/hosts")
    _file(base / "etc/motd")
    _file(base / "opt/old")
    _file(base / "lib/x")
    _file(outside / "y")
    _whiteout(top / "etc/motd")
    _file(top / "opt/new")
    os.setxattr(top / "opt", "trusted.overlay.opaque", b"y")
    (top / "lib").symlink_to(outside)
    below = Below([str(top), str(base)])
    known = [path for path in ("/etc/hosts", "/etc/motd", "/opt/old", "/opt/new", "/lib", "/lib/y") if below.has(path)]
    assert known == ["/etc/hosts", "/opt/new", "/lib"]
    assert below.names("/etc") == {"hosts"}
    assert below.names("/opt") == {"new"}


def test_what_is_below_an_excluded_folder_is_excluded() -> None:
    assert is_excluded("/var/cache/apt/x", ("/var/cache",))
    assert not is_excluded("/var/cache", ("/var/cache",))
    assert not is_excluded("/var/cached/x", ("/var/cache",))
