from __future__ import annotations

from pathlib import Path

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
