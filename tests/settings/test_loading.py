from __future__ import annotations

from pathlib import Path

import pytest

from netvps.settings.loading import load, sources
from netvps.settings.programs import RunnerSettings, ServerSettings, secrets_of


def test_remembered_flags_come_after_the_environment_and_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[server]\nlisten = "127.0.0.9"\nssh_port = 9\ndatabase_url = "sqlite:///f"\n')
    (tmp_path / "url").write_text("sqlite:///remembered")
    remembered = {"listen": "127.0.0.2", "api_port": "22", "database_url_file": str(tmp_path / "url"), "gone": "1"}
    monkeypatch.setenv("NETVPS_API_PORT", "33")
    settings = load(ServerSettings, {}, file, remembered=remembered)
    assert (settings.listen, settings.api_port, settings.ssh_port) == ("127.0.0.2", 33, 9)
    assert settings.database == "sqlite:///remembered"
    assert load(ServerSettings, {"listen": "::1"}, file, remembered=remembered).listen == "::1"


def test_secrets_are_those_with_a_file() -> None:
    assert secrets_of(ServerSettings) == ["database_url", "oidc_client_secret"]
    assert secrets_of(RunnerSettings) == ["join_token"]


def test_the_source_of_a_setting_is_the_strongest_that_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_API_PORT", "33")
    monkeypatch.setenv("NETVPS_SSH_PORT", "33")
    found = {one.name: (one.value, one.source) for one in sources(ServerSettings, {"ssh_port": "22"})}
    assert found["ssh_port"] == ("22", "flag --ssh-port")
    assert found["api_port"] == ("33", "environment NETVPS_API_PORT")
    assert found["terminal_ui"] == ("true", "default")
