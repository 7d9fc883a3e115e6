"""The CA's files: private, whole, and never recreated silently."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import asyncssh
import pytest

from netvps.adapters.ca import files, open_ca
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    Clock = Callable[[], datetime]

FILES = ("ca.key", "ca.pem", "ssh_host_ca", "ssh_host_key", "ssh_user_ca")


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.usefixtures("ca")
def test_files_are_for_their_owner_only(directory: Path) -> None:
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()} == dict.fromkeys(FILES, 0o600)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert list(directory.parent.iterdir()) == [directory]


def test_an_empty_directory_is_filled(directory: Path, clock: Clock) -> None:
    directory.mkdir(parents=True, mode=0o755)
    open_ca(directory, "c1", clock)
    assert sorted(content(directory)) == sorted(FILES)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.usefixtures("ca")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "damage", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None]
)
def test_a_damaged_or_missing_file_is_named_and_nothing_is_recreated(
    name: str, damage: bytes | None, directory: Path, clock: Clock
) -> None:
    path = directory / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    before = content(directory)
    with pytest.raises(ConfigError, match=f"CA file {path} is damaged, it is .*; restore it from a backup; or move"):
        open_ca(directory, "c1", clock)
    assert content(directory) == before


@pytest.mark.usefixtures("ca")
def test_keys_of_another_ca_are_noticed(directory: Path, clock: Clock) -> None:
    other = directory.with_name("other")
    open_ca(other, "c1", clock)
    (other / "ca.key").rename(directory / "ca.key")
    with pytest.raises(ConfigError, match=r"ca.key is damaged, it is not the key of ca.pem"):
        open_ca(directory, "c1", clock)


@pytest.mark.usefixtures("ca")
@pytest.mark.parametrize(
    ("name", "algorithm", "form"),
    [("ca.key", "ssh-ed25519", "pkcs8-pem"), ("ssh_user_ca", "ecdsa-sha2-nistp256", "openssh")],
)
def test_a_key_of_another_kind_is_noticed(name: str, algorithm: str, form: str, directory: Path, clock: Clock) -> None:
    (directory / name).write_bytes(asyncssh.generate_private_key(algorithm).export_private_key(form))
    with pytest.raises(ConfigError, match=f"{name} is damaged, it is not an E"):
        open_ca(directory, "c1", clock)


@pytest.mark.usefixtures("ca")
def test_a_key_that_others_may_read_is_refused(directory: Path, clock: Clock) -> None:
    (directory / "ssh_user_ca").chmod(0o640)
    with pytest.raises(ConfigError, match="ssh_user_ca is readable by other users: replace it"):
        open_ca(directory, "c1", clock)


def test_a_failure_half_way_leaves_nothing(directory: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_draft: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "sync_folder", full)
    with pytest.raises(ConfigError, match=r"cannot be created: No space left on device; fix that"):
        open_ca(directory, "c1", clock)
    assert list(directory.parent.iterdir()) == []


def test_an_impossible_directory_is_named(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="CA directory /proc/netvps/ca cannot be created"):
        open_ca(tmp_path / "/proc/netvps/ca", "c1", clock)
    with pytest.raises(ConfigError, match=f"CA directory {tmp_path}/file cannot be read: Not a directory"):
        open_ca(tmp_path / "file", "c1", clock)
