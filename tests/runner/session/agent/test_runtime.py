"""The folder between runner and agent; in that of an earlier container its root may have put anything."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from netvps.domain.session.session import SessionState
from netvps.runner.session.agent.runtime import RuntimeFolder
from netvps.runner.session.agent.upstream import Upstream
from netvps.runner.trash import Trash
from tests.runner.lab import Lab, Until, credential

UID = "0123456789abc"


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    path = tmp_path / "x"
    path.mkdir()
    return RuntimeFolder(path, UID, Upstream("127.0.0.1:9"), Trash(tmp_path))


def test_a_certificate_is_needed_once_for_each_epoch(folder: RuntimeFolder) -> None:
    assert folder.needs_credential(1)
    folder.write_credential(1, credential())
    assert not folder.needs_credential(1)
    assert folder.needs_credential(2)


def test_a_certificate_is_replaced_when_it_is_due(folder: RuntimeFolder) -> None:
    folder.write_credential(1, credential(days=-1))
    assert folder.needs_credential(1)
    folder.write_credential(1, credential(days=1))
    os.utime(folder.path / "boot.json", (time.time() + 3600, time.time() + 3600))  # the clock was set back since
    assert folder.needs_credential(1)


def test_an_agent_of_before_keeps_the_certificate_that_it_got_for_a_token(folder: RuntimeFolder) -> None:
    (folder.path / "boot.json").write_text(json.dumps({"epoch": 1, "boot_token": "t"}))
    identity = folder.path / "identity.pem"
    identity.write_bytes(b"k" * 241)  # the key alone
    assert folder.needs_credential(1)
    identity.write_bytes(b"k" * 1200)
    assert not folder.needs_credential(1)
    os.utime(identity, (0, 0))  # and it renews that no more
    assert folder.needs_credential(1)


@pytest.mark.parametrize(
    "content", [b"[" * 60_000, b"{", b"[]", b"null", b'{"epoch": 1, "renew_time": []}', b"9" * 9000, b"\xff"]
)
def test_no_content_of_the_boot_file_is_too_much(folder: RuntimeFolder, content: bytes) -> None:
    (folder.path / "identity.pem").write_bytes(b"k" * 1200)
    (folder.path / "boot.json").write_bytes(content)
    assert folder.needs_credential(1)


def test_links_pipes_and_folders_in_place_of_files_are_not_followed(folder: RuntimeFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text('{"epoch": 1}')
    boot, identity = folder.path / "boot.json", folder.path / "identity.pem"
    for name in ("link", "pipe", "folder", "folder of the identity"):
        boot.unlink(missing_ok=True)
        match name:
            case "link":
                boot.symlink_to(outside)
            case "pipe":
                os.mkfifo(boot)
            case "folder":
                (boot / "full").mkdir(parents=True)
            case _:
                identity.unlink()
                (identity / "full").mkdir(parents=True)
        assert folder.needs_credential(1)
        folder.write_credential(1, credential())
        assert not folder.needs_credential(1)
    assert outside.read_text() == '{"epoch": 1}'


async def test_the_file_for_resolv_conf_is_where_the_sessions_root_cannot_make_it_a_link(folder: RuntimeFolder) -> None:
    folder.write_resolv_conf("nameserver 10.128.4.1\n")
    assert folder.resolv_conf.read_text() == "nameserver 10.128.4.1\n"
    assert folder.resolv_conf.stat().st_mode & 0o777 == 0o644
    assert not folder.resolv_conf.is_relative_to(folder.path)
    await folder.remove()
    assert not folder.resolv_conf.exists()


async def test_the_address_of_a_session_that_moved_is_there_for_its_agent_until_it_is_back(
    folder: RuntimeFolder,
) -> None:
    file = folder.path / "address.json"
    folder.write_address("10.128.4.2", "")
    assert not file.exists()
    for address in ("10.128.0.2", "10.128.0.3"):
        folder.write_address(address, "10.128.4.2")
        assert json.loads(file.read_text()) == {"address": address, "local_address": "10.128.4.2"}
    await folder.open()
    await folder.prepare()
    assert file.exists()
    folder.write_address("10.128.4.2", "")
    assert not file.exists()
    (file / "full").mkdir(parents=True)  # by root of a container of an earlier version
    folder.write_address("10.128.0.2", "10.128.4.2")
    assert file.is_file()
    await folder.remove()
    assert not folder.path.exists()


async def test_the_socket_is_there_while_it_is_open_and_nothing_after_removal(folder: RuntimeFolder) -> None:
    await folder.open()
    await folder.open()
    assert {path.name for path in folder.path.iterdir()} == {"tunnel.sock"}
    await folder.remove()
    await folder.remove()
    assert not folder.path.exists()


async def test_a_folder_in_place_of_the_socket_gives_way_while_the_container_runs(folder: RuntimeFolder) -> None:
    socket = folder.path / "tunnel.sock"
    for _ in range(2):  # before it is opened, and while it is open
        socket.unlink(missing_ok=True)
        (socket / "full").mkdir(parents=True)
        await folder.open()
        assert stat.S_ISSOCK(socket.lstat().st_mode)
    inode = folder.path.stat().st_ino
    socket.unlink()
    socket.mkdir()
    await folder.close()
    assert folder.path.stat().st_ino == inode  # the container that runs has it mounted


@pytest.mark.parametrize("name", ["boot.sock", "config.pb", "anything"])
async def test_before_a_start_a_folder_with_a_sessions_files_is_made_again(folder: RuntimeFolder, name: str) -> None:
    folder.write_credential(1, credential())
    await folder.prepare()
    inode = folder.path.stat().st_ino
    await folder.prepare()  # nothing there but ours
    assert folder.path.stat().st_ino == inode
    assert not folder.needs_credential(1)
    (folder.path / name).touch()
    await folder.prepare()
    assert {path.name for path in folder.path.iterdir()} == {"tunnel.sock"}
    await folder.close()


@pytest.mark.docker
async def test_the_boot_file_is_there_before_the_agent(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        path = lab.settings.run_dir / assignment.session_uid / "boot.json"
        assert path.stat().st_mode & 0o777 == 0o600
        written = json.loads(path.read_text())
        assert written.pop("renew_time") > time.time()
        assert written == {
            "session_uid": assignment.session_uid,
            "epoch": 1,
            "ca_certificate": "-----BEGIN CERTIFICATE-----\n",
            "server_name": "control.netvps.internal",
        }
        identity = path.with_name("identity.pem")
        assert identity.stat().st_mode & 0o777 == 0o600
        assert identity.read_text().startswith(f"{assignment.session_uid} 1\n")


@pytest.mark.docker
async def test_a_session_can_write_to_no_folder_of_the_machine(lab: Lab) -> None:
    assignment = lab.session()
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        refused = await lab.run_in(assignment, "sh", "-c", "echo x >/.netvps/run/x || echo x >/.netvps/agent || true")
        assert refused.count("Read-only file system") == 2
        full = await lab.run_in(
            assignment,
            "sh",
            "-c",
            "cd /.netvps/private; i=0; while (: >f$i); do i=$((i+1)); done; rm f*; yes >big; ls -s big",
        )
        assert full.count("No space left") == 2
        assert int(full.split()[-2]) <= 4096  # KiB


@pytest.mark.docker
async def test_what_an_earlier_container_left_in_the_folder_stops_no_start(lab: Lab, eventually: Until) -> None:
    """One that an earlier netvps made could write there; the rest of that is removed meanwhile."""
    assignment = lab.session()
    folder = lab.settings.run_dir / assignment.session_uid
    for name in ("tunnel.sock", "boot.sock", "boot.json", "identity.pem"):
        (folder / name / "full").mkdir(parents=True)
    lab.link.assign(assignment)
    async with lab.runner():
        await lab.link.reported(assignment, SessionState.RUNNING)
        assert {path.name for path in folder.iterdir()} == {"tunnel.sock", "boot.json", "identity.pem"}

        async def tidy() -> bool:
            return not list(lab.settings.run_dir.glob(".gone-*"))

        await eventually(tidy)
