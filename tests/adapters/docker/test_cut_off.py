from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from netvps.adapters.docker.cut_off import end_processes, make_way, was_cut_off
from netvps.adapters.docker.errors import ContainerFailed

ID, OTHER = "05" * 32, "06" * 32


@pytest.mark.parametrize(
    ("said", "cut_off"),
    [
        (f"container 050505: Docker refused: task {ID}: already exists", True),
        ("container 050505: Docker refused: id already in use", True),
        (f"container 050505: Docker refused: failed to start shim: mkdir /run/x/moby/{ID}: file exists: unknown", True),
        (
            "container 050505: Docker refused: … runc create failed: container with given ID already exists: unknown",
            True,
        ),
        ("container 050505: Docker refused: network netvps-net already exists", False),
    ],
)
def test_it_is_told_from_other_refusals(said: str, cut_off: bool) -> None:
    assert was_cut_off(ContainerFailed(said)) is cut_off


def test_what_runs_of_the_container_and_its_shim_end_and_nothing_else(tmp_path: Path) -> None:
    shim = "/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0{}\0"
    cgroup = "9:memory:/docker/{0}\n0::/system.slice/docker-{0}.scope\n"
    told = [
        (cgroup.format(ID), "sleep\0"),
        ("0::/system.slice/docker.service\n", shim.format(ID)),
        (cgroup.format(OTHER), "sleep\0"),
        ("0::/system.slice/docker.service\n", shim.format(OTHER)),
        ("0::/user.slice\n", f"docker\0inspect\0{ID}\0"),
        (cgroup.format(ID), ""),  # a zombie
    ]
    processes = [subprocess.Popen(["sleep", "60"]) for _ in told]
    try:
        for process, (cgroups, command) in zip(processes, told, strict=True):
            folder = tmp_path / "proc" / str(process.pid)
            folder.mkdir(parents=True)
            (folder / "cgroup").write_text(cgroups)
            (folder / "cmdline").write_text(command)
        (tmp_path / "proc/4194304").mkdir()  # gone
        assert end_processes(ID, tmp_path)
        assert [process.wait(5) for process in processes[:2]] == [-9, -9]
        assert [process.poll() for process in processes[2:]] == [None] * 4
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_who_may_not_end_them_is_told_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("signal.pidfd_send_signal", refuse)
    pids = sorted(map(str, (os.getpid(), os.getppid())))
    for pid in pids:
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "cgroup").write_text(f"9:memory:/docker/{ID}\n")
        (tmp_path / "proc" / pid / "cmdline").write_text("sleep\0")
    with pytest.raises(ContainerFailed, match=r"as root \(kill -9 (\d+) (\d+)\)") as told:
        end_processes(ID, tmp_path)
    assert all(pid in str(told.value) for pid in pids)


def in_the_way(folder: Path) -> ContainerFailed:
    return ContainerFailed(f"container 0: Docker refused: failed to start shim: mkdir {folder}: file exists: unknown")


def test_the_folder_that_is_in_the_way_goes_if_it_is_the_containers(tmp_path: Path) -> None:
    for name in (ID, OTHER):
        (tmp_path / name / "rootfs").mkdir(parents=True)
        (tmp_path / name / "address").touch()
        (tmp_path / name / "work").symlink_to(tmp_path)
        make_way(ID, in_the_way(tmp_path / name), tmp_path)
    make_way(ID, in_the_way(tmp_path / ID), tmp_path)  # gone
    assert [path.name for path in tmp_path.iterdir()] == [OTHER]


def test_the_folder_of_what_runs_is_left_to_containerd(tmp_path: Path) -> None:
    folder, process = tmp_path / ID, subprocess.Popen(["sleep", "60"])
    try:
        for path in (folder, tmp_path / "proc" / str(process.pid)):
            path.mkdir(parents=True)
        (tmp_path / "proc" / str(process.pid) / "cgroup").write_text(f"9:memory:/docker/{ID}\n")
        (tmp_path / "proc" / str(process.pid) / "cmdline").write_text("sleep\0")
        make_way(ID, in_the_way(folder), tmp_path)
        assert process.wait(5) == -9
        assert folder.exists()
    finally:
        process.kill()
        process.wait()


def test_files_that_are_mounted_in_it_stay(tmp_path: Path) -> None:
    file = tmp_path / ID / "rootfs/file"
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(ContainerFailed, match="is left of it"):
        make_way(ID, in_the_way(tmp_path / ID), tmp_path)
    assert file.exists()
