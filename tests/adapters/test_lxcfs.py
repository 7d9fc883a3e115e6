from __future__ import annotations

from pathlib import Path

import pytest

from netvps.adapters import lxcfs
from netvps.adapters.lxcfs import lxcfs_files


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "lxcfs"
    (folder / "proc").mkdir(parents=True)
    (folder / "sys/devices/system/cpu").mkdir(parents=True)
    for name in ("meminfo", "uptime", "pressure"):
        (folder / "proc" / name).touch()
    monkeypatch.setattr(lxcfs, "MOUNT", str(folder))
    return folder


def test_files_of_lxcfs_are_found_where_it_is_mounted(tmp_path: Path, mount: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"36 35 0:40 / {mount} rw,nosuid shared:1 - fuse.lxcfs lxcfs rw,user_id=0\n")
    assert lxcfs_files(mountinfo) == (
        (f"{mount}/proc/meminfo", "/proc/meminfo"),
        (f"{mount}/proc/uptime", "/proc/uptime"),
        (f"{mount}/sys/devices/system/cpu", "/sys/devices/system/cpu"),
    )


@pytest.mark.parametrize(
    "line",
    [
        "",
        "36 35 0:40 / /elsewhere rw - fuse.lxcfs lxcfs rw",
        "36 35 0:40 / {mount} rw - ext4 /dev/sda1 rw",
        "36 35",
    ],
)
def test_a_folder_that_is_not_lxcfs_is_none(tmp_path: Path, mount: Path, line: str) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(f"{line.format(mount=mount)}\n")
    assert lxcfs_files(mountinfo) == ()
    assert lxcfs_files(tmp_path / "none") == ()
