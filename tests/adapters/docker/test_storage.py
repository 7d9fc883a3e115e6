from __future__ import annotations

from pathlib import Path

import pytest

from netvps.adapters.docker.storage import disk_bytes, why_no_limits


@pytest.mark.parametrize(
    ("driver", "kind", "options", "why"),
    [
        ("btrfs", "btrfs", "rw", ""),
        ("zfs", "zfs", "rw", ""),
        ("overlay2", "xfs", "rw,attr2,prjquota", ""),
        ("overlay2", "xfs", "rw,pquota", ""),
        ("vfs", "xfs", "rw,prjquota", ""),
        ("overlay2", "xfs", "rw,noquota", "is on xfs without the mount option pquota; put Docker's data folder on"),
        ("overlay2", "ext4", "rw,prjquota", "is on ext4, where overlay2 cannot; put Docker's data folder on xfs"),
        ("fuse-overlayfs", "xfs", "rw,prjquota", "storage driver fuse-overlayfs cannot; use overlay2, and put"),
        ("overlayfs", "xfs", "rw,prjquota", "storage driver overlayfs cannot"),
    ],
)
def test_limits_depend_on_driver_and_file_system(
    tmp_path: Path, driver: str, kind: str, options: str, why: str
) -> None:
    root, mountinfo = tmp_path / "my docker", tmp_path / "mountinfo"
    root.mkdir()
    point = str(root).replace(" ", "\\040")
    mountinfo.write_text(
        f"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n36 22 7:0 / {point} rw - {kind} /dev/loop0 {options}\n"
    )
    said = why_no_limits({"Driver": driver, "DockerRootDir": str(root)}, mountinfo)
    assert (said == "") is (why == "")
    assert why in said


def test_what_is_not_visible_is_said(tmp_path: Path) -> None:
    hidden = {"Driver": "overlay2", "DockerRootDir": "/nowhere/docker"}
    assert (
        why_no_limits(hidden) == "the file system of Docker's data folder /nowhere/docker is not visible to the runner"
    )
    assert "not visible" in why_no_limits({"Driver": "overlay2", "DockerRootDir": str(tmp_path)}, tmp_path / "none")
    assert "unknown cannot" in why_no_limits({})


def test_the_size_of_a_disk_is_that_of_its_file_system(tmp_path: Path) -> None:
    assert disk_bytes(str(tmp_path)) > 0
    assert disk_bytes("/nowhere/docker") == 0
