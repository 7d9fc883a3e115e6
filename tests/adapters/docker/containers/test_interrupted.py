from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from netvps.adapters.docker.containers.interrupted import end_processes, remove_remains, task_folders, was_interrupted
from netvps.adapters.docker.errors import ContainerFailed

ID, OTHER = "05" * 32, "06" * 32


@pytest.mark.parametrize(
    ("said", "interrupted"),
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
def test_it_is_distinguished_from_other_refusals(said: str, interrupted: bool) -> None:
    assert was_interrupted(ContainerFailed(said)) is interrupted


def test_what_runs_of_the_container_and_its_shim_end_and_nothing_else(tmp_path: Path) -> None:
    shim = "/usr/bin/containerd-shim-runc-v2\0-namespace\0moby\0-id\0{}\0"
    cgroup = "9:memory:/docker/{0}\n0::/system.slice/docker-{0}.scope\n"
    cases = [
        (cgroup.format(ID), "sleep\0"),
        ("0::/system.slice/docker.service\n", shim.format(ID)),
        (cgroup.format(OTHER), "sleep\0"),
        ("0::/system.slice/docker.service\n", shim.format(OTHER)),
        ("0::/user.slice\n", f"docker\0inspect\0{ID}\0"),
        (cgroup.format(ID), ""),  # a zombie
    ]
    processes = [subprocess.Popen(["sleep", "60"]) for _ in cases]
    try:
        for process, (cgroups, command) in zip(processes, cases, strict=True):
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


def test_who_may_not_end_them_gets_all_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("signal.pidfd_send_signal", refuse)
    pids = sorted(map(str, (os.getpid(), os.getppid())))
    for pid in pids:
        (tmp_path / "proc" / pid).mkdir(parents=True)
        (tmp_path / "proc" / pid / "cgroup").write_text(f"9:memory:/docker/{ID}\n")
        (tmp_path / "proc" / pid / "cmdline").write_text("sleep\0")
    with pytest.raises(ContainerFailed, match=r"as root \(kill -9 (\d+) (\d+)\)") as cases:
        end_processes(ID, tmp_path)
    assert all(pid in str(cases.value) for pid in pids)


def in_the_way(folder: Path) -> ContainerFailed:
    return ContainerFailed(f"container 0: Docker refused: failed to start shim: mkdir {folder}: file exists: unknown")


def test_the_folder_that_is_in_the_way_goes_if_it_is_the_containers(tmp_path: Path) -> None:
    for name in (ID, OTHER):
        (tmp_path / name / "rootfs").mkdir(parents=True)
        (tmp_path / name / "address").touch()
        (tmp_path / name / "work").symlink_to(tmp_path)
        remove_remains(ID, in_the_way(tmp_path / name), tmp_path, folders={tmp_path})
    remove_remains(ID, in_the_way(tmp_path / ID), tmp_path, folders={tmp_path})  # gone
    assert [path.name for path in tmp_path.iterdir()] == [OTHER]


def test_the_folder_of_what_runs_is_left_to_containerd(tmp_path: Path) -> None:
    folder, process = tmp_path / ID, subprocess.Popen(["sleep", "60"])
    try:
        for path in (folder, tmp_path / "proc" / str(process.pid)):
            path.mkdir(parents=True)
        (tmp_path / "proc" / str(process.pid) / "cgroup").write_text(f"9:memory:/docker/{ID}\n")
        (tmp_path / "proc" / str(process.pid) / "cmdline").write_text("sleep\0")
        remove_remains(ID, in_the_way(folder), tmp_path, folders={tmp_path})
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
        remove_remains(ID, in_the_way(tmp_path / ID), tmp_path, folders={tmp_path})
    assert file.exists()


def test_a_folder_elsewhere_stays_and_the_error_says_what_to_remove(tmp_path: Path) -> None:
    """Whatever an error says: only where this engine keeps containers, and never by way of a link."""
    kept, elsewhere = tmp_path / "kept", tmp_path / "elsewhere"
    (elsewhere / ID / "rootfs").mkdir(parents=True)
    kept.mkdir()
    with pytest.raises(ContainerFailed, match=f"{elsewhere / ID} is left of it.*remove it as root"):
        remove_remains(ID, in_the_way(elsewhere / ID), tmp_path, folders={kept})
    (kept / ID).symlink_to(elsewhere / ID)
    with pytest.raises(ContainerFailed, match="is left of it"):
        remove_remains(ID, in_the_way(kept / ID), tmp_path, folders={kept})
    with pytest.raises(ContainerFailed, match="is left of it"):
        remove_remains(ID, in_the_way(kept / ".." / "elsewhere" / ID), tmp_path, folders={kept})
    assert (elsewhere / ID / "rootfs").exists()


def test_where_an_engine_keeps_containers_is_read_from_its_command_line(tmp_path: Path) -> None:
    sock, tasks = tmp_path / "docker.sock", "io.containerd.runtime.v2.task"
    defaults = {Path("/run/containerd", tasks, "moby"), Path("/var/run/docker/containerd/daemon", tasks, "moby")}
    assert task_folders(f"unix://{sock}") == {path.resolve() for path in defaults}
    command = tmp_path / "proc" / str(os.getpid()) / "cmdline"
    command.parent.mkdir(parents=True)
    command.write_text("dockerd\0--exec-root=/x/exec\0--containerd-namespace\0mine\0")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(sock))
        listener.listen()
        found = task_folders(f"unix://{sock}", tmp_path)
    assert found == {Path("/run/containerd", tasks, "mine"), Path("/x/exec/containerd/daemon", tasks, "mine")}
