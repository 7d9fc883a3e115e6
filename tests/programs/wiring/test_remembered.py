"""The flags of `netvps up` are kept for the next start."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.programs.wiring.remembered import forget, load_remembered, recall, remember, words
from netvps.settings import ServerSettings


def test_flags_come_back_but_not_the_folder_that_they_are_in(tmp_path: Path) -> None:
    remember(tmp_path, {"listen": "0.0.0.0", "ssh_port": "22", "state_dir": str(tmp_path)})
    assert recall(str(tmp_path)) == {"listen": "0.0.0.0", "ssh_port": "22"}
    assert stat.S_IMODE((tmp_path / "up.json").stat().st_mode) == 0o600


def test_a_configuration_file_of_the_environment_comes_before_a_kept_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(tmp_path, {"config": "/old.toml"})
    assert recall(str(tmp_path)) == {"config": "/old.toml"}
    monkeypatch.setenv("NETVPS_CONFIG", "/new.toml")
    assert recall(str(tmp_path)) == {}


def test_a_command_beside_it_has_the_same_settings(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[server]\napi_port = 33\n")
    remember(tmp_path, {"ssh_port": "22", "config": str(tmp_path / "c.toml")})
    settings = load_remembered(ServerSettings, {"state_dir": str(tmp_path)}, None)
    assert (settings.ssh_port, settings.api_port) == (22, 33)


def test_what_is_damaged_can_be_forgotten(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text("[]")
    with pytest.raises(ConfigError, match="`netvps up --reset-flags`"):
        recall(str(tmp_path))
    forget(str(tmp_path))
    forget(str(tmp_path))
    assert recall(str(tmp_path)) == {}


def test_they_are_shown_as_they_are_typed() -> None:
    assert words({"ssh_port": "22", "listen": "::", "state_dir": "/s"}) == "--listen :: --ssh-port 22"
