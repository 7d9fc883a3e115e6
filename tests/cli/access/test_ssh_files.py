"""Files in ~/.ssh: written as a whole, with the modes that ssh wants, and removed without a trace."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.cli.access.ssh_config import Gateway
from netvps.cli.access.ssh_files import SshFiles
from netvps.cli.server import contexts
from netvps.errors import ConfigError, Unavailable

HERE = Gateway("local", "127.0.0.1", 2222, ("127.0.0.1",), "ssh-ed25519 AAAA", "/keys/here", ("dev1",))


@pytest.fixture
def own(home: Path) -> Path:
    (home / ".ssh").mkdir(mode=0o700)
    return home / ".ssh/config"


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_written_is_private_and_removed_without_a_trace(home: Path) -> None:
    files = SshFiles()
    assert files.put(HERE) is True
    assert files.put(HERE) is False
    for file in (files.own, files.files.config, files.files.sessions, files.files.known_hosts):
        assert file.stat().st_mode & 0o777 == 0o600
    assert (home / ".ssh").stat().st_mode & 0o777 == 0o700
    assert files.known() == {"local": HERE}
    assert files.remove() is True
    assert _tree(home / ".ssh") == {}
    assert (files.switched_off(), files.known(), files.remove()) == (True, {}, False)
    files.put(HERE)
    assert not files.switched_off()


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o400])
@pytest.mark.parametrize("text", [b"Host a\n  User b", b"\xff\xfe\r\n\r\n", b"# mine\n"])
def test_the_persons_own_file_keeps_its_bytes_and_its_mode(own: Path, mode: int, text: bytes) -> None:
    own.write_bytes(text)
    own.chmod(mode)
    SshFiles().put(HERE)
    assert own.read_bytes().endswith(b"\n" + text)
    assert own.stat().st_mode & 0o777 == mode
    SshFiles().remove()
    assert (own.read_bytes(), own.stat().st_mode & 0o777) == (text, mode)
    assert [file.name for file in own.parent.iterdir()] == ["config"]


def test_a_link_stays_one(own: Path, home: Path) -> None:
    (home / "dotfiles").mkdir()
    (home / "dotfiles/ssh").write_text("Host a\n")
    own.symlink_to("../dotfiles/ssh")
    SshFiles().put(HERE)
    assert own.is_symlink()
    assert (home / "dotfiles/ssh").read_text().startswith("Include ")


def test_the_chosen_context_comes_first() -> None:
    files = SshFiles()
    lab = replace(HERE, context="lab", host="192.0.2.7")
    contexts.save(contexts.Context("lab", "192.0.2.7:7443", "CA", "nv_a_b"))
    files.put(HERE)
    files.put(lab)
    assert _first_host(files) == "127.0.0.1"
    contexts.use("lab")
    files.reorder()
    assert _first_host(files) == "192.0.2.7"
    files.drop("lab")
    files.drop("none")
    assert _first_host(files) == "127.0.0.1"


def _first_host(files: SshFiles) -> str:
    return files.files.sessions.read_text().partition("HostName ")[2].partition("\n")[0]


def test_a_state_that_cannot_be_read_is_made_again() -> None:
    files = SshFiles()
    files.put(HERE)
    (contexts.config_folder() / "ssh.json").write_text("{")
    assert files.known() == {}
    files.put(HERE)
    assert files.known() == {"local": HERE}


def test_commands_at_once_lose_nothing() -> None:
    threads = [
        threading.Thread(target=lambda n=number: SshFiles().put(replace(HERE, context=f"c{n}"))) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(SshFiles().known()) == 8


def test_a_lock_that_is_held_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.cli.access.ssh_files._LOCK_SECONDS", 0.0)
    files = SshFiles()
    with files.locked(), pytest.raises(Unavailable, match=r"another netvps holds .*config: end it"):
        files.put(HERE)


def test_the_home_of_another_account_is_left_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    with pytest.raises(ConfigError, match=rf"belongs to another account \(uid {uid}\): run this as that account"):
        SshFiles().put(HERE)
    assert not (home / ".ssh").exists()


def test_a_file_that_cannot_be_written_is_named(own: Path) -> None:
    own.mkdir()
    with pytest.raises(ConfigError, match=r"the configuration of ssh cannot be written: .*make it writable"):
        SshFiles().put(HERE)
