"""The folder between runner and agent; whoever is root in the session may put anything there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from netvps.runner.runtime import RuntimeFolder


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    path = tmp_path / "x"
    path.mkdir()
    return RuntimeFolder(path, "0123456789abc", "127.0.0.1:9", "127.0.0.1:9")


def test_a_token_is_needed_once_for_each_epoch(folder: RuntimeFolder) -> None:
    assert folder.needs_token(1)
    folder.write_boot(1, "token", "ca")
    assert not folder.needs_token(1)
    assert folder.needs_token(2)


def test_a_token_that_grew_old_unused_is_replaced_and_a_used_one_is_not(folder: RuntimeFolder) -> None:
    folder.write_boot(1, "token", "ca")
    os.utime(folder.path / "boot.json", (0, 0))
    assert folder.needs_token(1)
    os.utime(folder.path / "boot.json", (time.time() + 3600, time.time() + 3600))  # the clock was set back since
    assert folder.needs_token(1)
    (folder.path / "identity.pem").write_bytes(b"k" * 241)  # the key alone
    assert folder.needs_token(1)
    (folder.path / "identity.pem").write_bytes(b"k" * 1200)
    assert not folder.needs_token(1)


def test_links_and_pipes_in_place_of_the_boot_file_are_not_followed(folder: RuntimeFolder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text('{"epoch": 1}')
    boot = folder.path / "boot.json"
    boot.symlink_to(outside)
    assert folder.needs_token(1)
    folder.write_boot(1, "token", "ca")
    assert outside.read_text() == '{"epoch": 1}'
    boot.unlink()
    os.mkfifo(boot)
    assert folder.needs_token(1)


async def test_the_file_for_resolv_conf_is_where_the_sessions_root_cannot_make_it_a_link(folder: RuntimeFolder) -> None:
    folder.write_resolv_conf("nameserver 10.128.4.1\n")
    assert folder.resolv_conf.read_text() == "nameserver 10.128.4.1\n"
    assert folder.resolv_conf.stat().st_mode & 0o777 == 0o644
    assert not folder.resolv_conf.is_relative_to(folder.path)
    await folder.remove()
    assert not folder.resolv_conf.exists()


async def test_sockets_are_there_while_it_is_open_and_nothing_after_removal(folder: RuntimeFolder) -> None:
    await folder.open()
    await folder.open()
    assert {path.name for path in folder.path.iterdir()} == {"boot.sock", "tunnel.sock"}
    await folder.remove()
    await folder.remove()
    assert not folder.path.exists()
