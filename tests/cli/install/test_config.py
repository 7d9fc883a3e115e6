from __future__ import annotations

import json
from pathlib import Path

import pytest

from netvps import exit_codes
from tests.cli.conftest import Run

URL = "postgresql://u:hush@h/d"


def _shown(out: str) -> dict[str, tuple[str, str]]:
    rows = json.loads(out)
    return {f"{row['program']}.{row['name']}": (row["value"], row["source"]) for row in rows}


def test_each_setting_is_shown_with_what_sets_it(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "state").mkdir()
    (home / "state/up.json").write_text('{"flags": {"ssh_port": "22", "api_port": "1"}}')
    file = home / "netvps.toml"
    file.write_text('[server]\nssh_port = 4\nlisten = "0.0.0.0"\n[runner]\nname = "box1"\n')
    monkeypatch.setenv("NETVPS_API_PORT", "33")
    ran = run("config", "show", "--sources", "--config", str(file), "-o", "json")
    shown = _shown(ran.out)
    assert shown["server.state_dir"] == (str(home / "state"), "environment NETVPS_STATE_DIR")
    assert shown["server.api_port"] == ("33", "environment NETVPS_API_PORT")
    assert shown["server.ssh_port"] == ("22", "kept flag of netvps up")
    assert shown["server.listen"] == ("0.0.0.0", f"file {file} [server]")
    assert shown["runner.name"] == ("box1", f"file {file} [runner]")
    assert shown["server.link_port"] == ("7444", "default")


def test_a_secret_is_not_shown_and_a_file_that_all_can_read_is_a_warning(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = home / "url"
    secret.write_text(f"{URL}\n")
    secret.chmod(0o644)
    monkeypatch.setenv("NETVPS_DATABASE_URL_FILE", str(secret))
    ran = run("config", "show", "server", "-o", "json")
    shown = _shown(ran.out)
    assert shown["server.database_url"] == ("(hidden)", "database_url_file")
    assert shown["server.database_url_file"] == (str(secret), "environment NETVPS_DATABASE_URL_FILE")
    assert "hush" not in ran.out + ran.err
    assert f"chmod o-rwx {secret}" in ran.err
    secret.chmod(0o640)
    assert "chmod" not in run("config", "show", "server").err


def test_a_credential_of_systemd_is_used_unless_the_secret_is_set(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "credentials").mkdir()
    (home / "credentials/database_url").write_text(URL)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(home / "credentials"))
    shown = _shown(run("config", "show", "-o", "json").out)
    assert shown["server.database_url_file"] == (str(home / "credentials/database_url"), "systemd credential")
    monkeypatch.setenv("NETVPS_DATABASE_URL", URL)
    shown = _shown(run("config", "show", "-o", "json").out)
    assert shown["server.database_url"] == ("(hidden)", "environment NETVPS_DATABASE_URL")
    assert "server.database_url_file" not in shown


def test_a_wrong_setting_ends_it_with_code_10_and_the_nearest_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_SSH_PROT", "22")
    ran = run("config", "show")
    assert ran.code == exit_codes.CONFIGURATION
    assert "NETVPS_SSH_PROT: did you mean NETVPS_SSH_PORT" in ran.err


def test_defaults_are_left_out_unless_sources_are_asked_for(run: Run) -> None:
    assert "ssh_port" not in run("config", "show", "server").out
    assert "ssh_port" in run("config", "show", "server", "--sources").out
