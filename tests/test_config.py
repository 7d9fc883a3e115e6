from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from netvps.config import Paths, paths
from netvps.errors import ConfigError


def test_root_uses_the_folders_of_the_system() -> None:
    assert paths(environ={}, uid=0) == Paths(Path("/var/lib/netvps"), Path("/run/netvps"))


def test_others_use_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    own = Path("/home/eve/.local/state/netvps")
    assert paths(environ={}, uid=7) == Paths(own, own / "run")
    assert paths(environ={"XDG_STATE_HOME": "/s"}, uid=7).state == Path("/s/netvps")


def test_a_login_shell_cron_and_su_find_the_same_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a login shell has XDG_RUNTIME_DIR."""
    monkeypatch.setenv("HOME", "/home/eve")
    assert paths(environ={"XDG_RUNTIME_DIR": "/run/user/7"}, uid=7) == paths(environ={}, uid=7)


def test_a_home_too_deep_for_sockets_has_them_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/" + "x" * 60)
    assert paths(environ={}, uid=4242).runtime == Path("/tmp/netvps-4242")


def test_the_runtime_folder_of_the_last_up_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"flags": {"runtime_dir": "/r", "listen": "0.0.0.0"}}')
    assert paths(tmp_path, environ={}, uid=0).runtime == Path("/r")
    assert paths(tmp_path, environ={"NETVPS_RUNTIME_DIR": "/mine"}, uid=0).runtime == Path("/mine")
    (tmp_path / "up.json").write_text("{")
    with pytest.raises(ConfigError, match="`netvps up --reset-flags`"):
        paths(tmp_path, environ={}, uid=0)


def test_arguments_come_before_the_environment() -> None:
    environ = {"NETVPS_STATE_DIR": "/a", "NETVPS_RUNTIME_DIR": "/b"}
    assert paths(environ=environ, uid=7) == Paths(Path("/a"), Path("/b"))
    assert paths("/c", environ=environ, uid=7) == Paths(Path("/c"), Path("/b"))


def test_relative_folders_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths("s", "r").state == tmp_path / "s"


def test_the_socket_is_in_the_runtime_folder() -> None:
    assert paths("/s", "/r").api_socket == Path("/r/api.sock")


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short name: a socket's path has to fit in 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="nv-") as made:
        yield Path(made)


def test_prepare_makes_a_private_state_and_a_passable_runtime(folder: Path) -> None:
    made = Paths(folder / "deep/state", folder / "run")
    made.prepare()
    made.prepare()
    assert stat.S_IMODE(made.state.stat().st_mode) == 0o700
    assert stat.S_IMODE(made.runtime.stat().st_mode) == 0o755


def test_a_conflicting_file_is_reported_with_the_remedy(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot make folder .*/file/state.*NETVPS_STATE_DIR"):
        Paths(folder / "file/state", folder / "run").prepare()


def test_a_path_too_long_for_a_socket_is_reported_before_anything_is_made(tmp_path: Path) -> None:
    long = Paths(tmp_path / "state", tmp_path / ("x" * 100))
    with pytest.raises(ConfigError, match="too long"):
        long.prepare()
    assert not long.state.exists()


def test_the_fallback_in_tmp_must_be_owned(tmp_path: Path) -> None:
    from netvps import config

    with pytest.raises(ConfigError, match="another account"):
        config._require_own(tmp_path, uid=tmp_path.stat().st_uid + 1)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="another account"):
        config._require_own(tmp_path, uid=tmp_path.stat().st_uid)
    tmp_path.chmod(0o700)
    config._require_own(tmp_path, uid=tmp_path.stat().st_uid)
    config._require_own(tmp_path / "missing", uid=1)
