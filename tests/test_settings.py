from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.domain.access.accounts import Role
from netvps.domain.access.oidc import LoginRules
from netvps.errors import ConfigError
from netvps.settings import RunnerSettings, ServerSettings, load, refuse_unknown_variables


def _file(folder: Path, text: str) -> Path:
    file = folder / "netvps.toml"
    file.write_text(text)
    return file


def test_defaults_need_no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETVPS_STATE_DIR", str(tmp_path))
    settings = load(ServerSettings, {})
    assert (settings.listen, settings.api_port, settings.ssh_port) == ("127.0.0.1", 7443, 2222)
    assert settings.database == f"sqlite:///{tmp_path}/netvps.db"


def test_flags_overrule_environment_overrules_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = _file(tmp_path, "[server]\napi_port = 1\nssh_port = 1\nlink_port = 1\n")
    monkeypatch.setenv("NETVPS_SSH_PORT", "2")
    monkeypatch.setenv("NETVPS_API_PORT", "2")
    settings = load(ServerSettings, {"api_port": "3", "ssh_port": None}, file)
    assert (settings.api_port, settings.ssh_port, settings.link_port) == (3, 2, 1)


def test_each_program_reads_its_own_table(tmp_path: Path) -> None:
    file = _file(tmp_path, f'state_dir = "{tmp_path}"\n[server]\ndrain = 1\n[runner]\nname = "box1"\n')
    assert load(RunnerSettings, {}, file).name == "box1"
    assert load(ServerSettings, {}, file).drain == 1
    assert load(ServerSettings, {}, file).paths.state == tmp_path


def test_the_variable_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NETVPS_CONFIG", str(_file(tmp_path, "[server]\ndrain = 2\n")))
    assert load(ServerSettings, {}).drain == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[server]\nssh_prot = 22\n", "unknown setting 'ssh_prot': did you mean ssh_port?"),
        ("[sever]\n", "unknown key 'sever': did you mean server?"),
        ("zzz = 1\n", "unknown key 'zzz': known are"),
        ("server = 1\n", "'server' is a table"),
        ("[server\n", "is not TOML"),
        ("[server]\nssh_port = 70000\n", "ssh_port: 70000 is wrong"),
        ('[server]\nlisten = "everywhere"\n', "listen: 'everywhere' is wrong"),
        ('[server]\noverlay_pool = "10.0.0.0/24"\n', "smaller than one /22"),
        ('[server]\noverlay_pool = "10.0.0.1/8"\n', "no IPv4 network"),
        ('[server]\noverlay_pool = "fd00::/16"\n', "no IPv4 network"),
        ('[server]\noverlay_pool = "8.0.0.0/8"\n', "8.0.0.0/8 is not private: machines would lose their route"),
        ('[server]\noverlay_pool = "0.0.0.0/0"\n', "is not private"),
        ('[server]\noverlay_pool = "172.16.0.0/12"\n', "overlaps 172.30.0.0/16, which sessions"),
    ],
)
def test_a_wrong_file_is_reported_in_one_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(ServerSettings, {}, _file(tmp_path, text))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(ServerSettings, {}, tmp_path / "none.toml")


def test_an_unknown_variable_with_the_prefix_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_SSH_PROT", "22")
    with pytest.raises(ConfigError, match="NETVPS_SSH_PROT: did you mean NETVPS_SSH_PORT"):
        load(ServerSettings, {})


def test_a_variable_that_is_read_or_documented_is_known(root: Path) -> None:
    """Programs have the environment of who starts them: a test of many, say, who asked for NETVPS_FULL."""
    code = [path for folder in ("netvps", "bench", "tests") for path in (root / folder).rglob("*.py")]
    documents = [root / "README.md", *(root / "docs").rglob("*.md")]
    read, named = re.compile(r"""environ(?:\.get\(|\[)"(NETVPS_\w+)\""""), re.compile(r"NETVPS_\w*[A-Z]")
    found = {name for path in code for name in read.findall(path.read_text(encoding="utf-8"))}
    found |= {name for path in documents for name in named.findall(path.read_text(encoding="utf-8"))}
    assert found >= {"NETVPS_CONFIG", "NETVPS_FULL", "NETVPS_REQUIRE"}
    refuse_unknown_variables(dict.fromkeys(found, "1"))


def test_all_wrong_settings_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        load(ServerSettings, {"api_port": "x", "ssh_port": "0"})
    assert "api_port: 'x'" in str(error.value)
    assert "ssh_port: '0'" in str(error.value)


def test_a_secret_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:hush@h/d\n")
    settings = load(ServerSettings, {"database_url_file": str(tmp_path / "url")})
    assert settings.database == "postgresql://u:hush@h/d"
    assert "hush" not in repr(settings)


def test_a_secret_and_its_file_are_not_both_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("x")
    monkeypatch.setenv("NETVPS_DATABASE_URL", "postgresql://u:hush@h/d")
    with pytest.raises(ConfigError, match="both set") as error:
        load(ServerSettings, {"database_url_file": str(tmp_path / "url")})
    assert "hush" not in str(error.value)


def test_the_environment_overrules_a_secret_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("sqlite:///two")
    monkeypatch.setenv("NETVPS_DATABASE_URL_FILE", str(tmp_path / "url"))
    file = _file(tmp_path, '[server]\ndatabase_url = "sqlite:///one"\n')
    assert load(ServerSettings, {}, file).database == "sqlite:///two"


def test_an_unreadable_secret_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"join_token_file .* cannot be read"):
        load(RunnerSettings, {"join_token_file": str(tmp_path / "none")})


OIDC = '[server]\noidc_issuer = "https://login.example"\noidc_client_id = "netvps"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (OIDC, "neither oidc_groups nor oidc_domains is: everybody with an account there would get in"),
        ('[server]\noidc_groups = "lab"\n', "oidc_groups is set, but oidc_issuer and oidc_client_id are not both"),
        ('[server]\noidc_issuer = "https://login.example"\n', "give both, or none"),
        ('[server]\noidc_issuer = "http://login.example"\n', "give the https URL that the issuer calls itself"),
        ('[server]\noidc_issuer = "login.example"\n', "give the https URL that the issuer calls itself"),
        (f'{OIDC}oidc_role = "admin"\n', "oidc_role: 'admin' is wrong"),
    ],
)
def test_an_issuer_that_lets_in_too_many_or_is_incomplete_is_reported(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(ServerSettings, {}, _file(tmp_path, text))


def test_the_rules_of_an_issuer(tmp_path: Path) -> None:
    assert load(ServerSettings, {}).login_rules is None
    more = 'oidc_groups = ["lab", "staff"]\noidc_domains = "Example.org, "\noidc_role = "viewer"\n'
    (tmp_path / "secret").write_text("hush\n")
    settings = load(ServerSettings, {"oidc_client_secret_file": str(tmp_path / "secret")}, _file(tmp_path, OIDC + more))
    rules = LoginRules("https://login.example", "netvps", "netvps", "preferred_username", ("lab", "staff"))
    assert settings.login_rules == replace(rules, domains=("example.org",), role=Role.VIEWER)
    assert settings.read_oidc_secret() == "hush"
    (tmp_path / "secret").write_text("another\n")
    assert settings.read_oidc_secret() == "another"


def test_settings_are_frozen() -> None:
    settings = load(ServerSettings, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.drain = 3


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"apps_tls_cert": "/c"}, "apps_tls_cert and apps_tls_key: give both, or none"),
        ({"apps_tls_cert": "/c", "apps_tls_key": "/k"}, "apps_url is no https URL, but there is a certificate"),
    ],
)
def test_a_certificate_of_urls_has_a_key_and_an_https_url(flags: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(ServerSettings, flags)
    given = {"apps_tls_cert": "/c", "apps_tls_key": "/k", "apps_url": "https://a.example", "apps_listen": "0.0.0.0"}
    assert load(ServerSettings, given).apps_tls_key == Path("/k")
