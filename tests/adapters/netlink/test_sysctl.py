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


def test_one_that_cannot_be_set_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    assert sysctl.write("net", "1", tmp_path) == (
        "sysctl net = 1: Is a directory; set it on the machine itself (sysctl -w)"
    )
