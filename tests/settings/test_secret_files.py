from __future__ import annotations

from pathlib import Path

import pytest

from netvps.errors import ConfigError
from netvps.settings import RunnerSettings, ServerSettings, load, warnings
from netvps.settings.secret_files import credentials


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"x" * 70_000, "is larger than 64 KiB"),
    ],
)
def test_a_secret_file_with_no_secret_in_it_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "url").write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        load(ServerSettings, {"database_url_file": str(tmp_path / "url")})


def test_an_empty_secret_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_DATABASE_URL", "")
    with pytest.raises(ConfigError, match="database_url is empty"):
        load(ServerSettings, {})


def test_a_secret_file_that_every_account_can_read_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("nvj_x\n")
    settings = load(RunnerSettings, {"join_token_file": str(file)})
    file.chmod(0o604)
    assert warnings(settings) == [
        f"join_token_file {file} can be read by every account of this machine: chmod o-rwx {file}"
    ]
    file.chmod(0o640)
    assert warnings(settings) == []


def test_credentials_are_files_with_the_name_of_a_secret(tmp_path: Path) -> None:
    assert credentials(["database_url"], {}) == {}
    assert credentials(["database_url"], {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == {}
    (tmp_path / "database_url").write_text("x")
    (tmp_path / "other").write_text("x")
    found = credentials(["database_url"], {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert found == {"database_url_file": str(tmp_path / "database_url")}
