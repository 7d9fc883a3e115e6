from __future__ import annotations

import errno
from pathlib import Path

import pytest

from netvps.adapters.netlink import sysctl


def test_values_are_read_and_written_where_there_are_any(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net/a").write_text("0\n")
    assert sysctl.read(["net/a", "net/b"], tmp_path) == {"net/a": "0"}
    assert sysctl.write("net/a", "1", tmp_path) == ""
    assert sysctl.write("gone/b", "1", tmp_path) == ""
    assert sysctl.read(["net/a", "gone/b"], tmp_path) == {"net/a": "1"}


def test_write_explains_what_cannot_be_set(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    assert (
        sysctl.write("net", "1", tmp_path) == "cannot set sysctl net to 1: Is a directory; set it by hand (sysctl -w)"
    )


def test_a_container_writes_to_the_mounted_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker mounts /proc/sys read-only."""
    write_text, mounted = Path.write_text, tmp_path / "mounted"

    def refuse(file: Path, text: str, encoding: str) -> int:
        if not file.is_relative_to(mounted):
            raise OSError(errno.EROFS, "Read-only file system")
        return write_text(file, text, encoding)

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(sysctl, "_MOUNTED", mounted)
    assert "Read-only file system" in sysctl.write("net/a", "1", tmp_path)
    (mounted / "net").mkdir(parents=True)
    assert sysctl.write("net/a", "1", tmp_path) == ""
    assert (mounted / "net/a").read_text() == "1"
