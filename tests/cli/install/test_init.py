from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from netvps.cli.install.init import SHAPES, TEMPLATES
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[3]
RUNNER = ("--shape", "runner", "--server", "vps.example.org:7443")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("NETVPS_") or name == "DOCKER_SOCKET"]:
        monkeypatch.delenv(name)


def _settings(folder: Path) -> dict[str, str]:
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "runner"])
def test_a_shape_is_its_compose_file_and_its_settings(
    run: Run, tmp_path: Path, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETVPS_SSH_PORT", "2022")
    folder = tmp_path / "new" / "my netvps"
    ran = run("init", "--shape", shape, "--public-name", "vps.example.org", str(folder))
    caddy = ", Caddyfile" if shape == "server-auth" else ""
    assert (ran.code, ran.err) == (0, f"wrote compose.yml, .env{caddy} in {folder}\n")
    assert ran.out.startswith(f"cd '{folder}' && docker")
    assert ran.out.endswith("compose --profile caddy up -d\n" if caddy else "compose up -d\n")
    assert (folder / "compose.yml").read_bytes() == (ROOT / "deploy/compose" / f"{shape}.yml").read_bytes()
    assert _settings(folder) == {"NETVPS_PUBLIC_NAME": "vps.example.org", "NETVPS_SSH_PORT": "2022"}
    assert "#NETVPS_API_PORT=7443\n" in (folder / ".env").read_text()


def test_there_is_a_shape_for_each_template() -> None:
    assert {file.stem for file in TEMPLATES.iterdir()} == set(SHAPES)
    for file in TEMPLATES.iterdir():
        assert "services" in yaml.safe_load(file.read_text())


def test_a_runner_gets_its_token_as_a_file_of_its_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("nvj_hush\n")
    folder = tmp_path / "runner"
    ran = run("init", *RUNNER, "--join-token", str(tmp_path / "token"), str(folder))
    assert ran.code == 0
    assert (folder / "join-token").read_text() == "nvj_hush\n"
    assert (folder / "join-token").stat().st_mode & 0o777 == 0o600
    assert "nvj_hush" not in ran.out + ran.err + (folder / ".env").read_text() + (folder / "compose.yml").read_text()
    assert _settings(folder) == {"NETVPS_SERVER": "vps.example.org:7443"}


def test_what_exists_is_kept(run: Run, tmp_path: Path) -> None:
    words = ("init", "--shape", "all-in-one", str(tmp_path / "all"))
    assert run(*words).code == 0
    ran = run(*words)
    assert (ran.code, ran.err) == (0, f"{tmp_path}/all has all of it already\n")
    (tmp_path / "all/.env").write_text("mine")
    (tmp_path / "all/compose.yml").unlink()
    ran = run(*words)
    assert (ran.code, ran.err) == (
        5,
        f"netvps: {tmp_path}/all/.env exists and is different: choose another folder, or remove it\n",
    )
    assert (tmp_path / "all/.env").read_text() == "mine"
    assert not (tmp_path / "all/compose.yml").exists()


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (("--shape", "runner"), {}, "--server: the shape runner needs it: give HOST:7443 of the server"),
        (RUNNER, {}, "--join-token: a runner needs one"),
        ((*RUNNER, "--public-name", "x"), {}, "--public-name: the shape runner does not read it: leave it out"),
        (("--shape", "server", "--server", "x:1"), {}, "--server: the shape server does not read it"),
        (("--shape", "server", "--join-token", "/dev/null"), {}, "--join-token: the shape server needs none"),
        (("--shape", "server", "--public-name", "a b"), {}, "--public-name: 'a b' is wrong: use letters"),
        (("--shape", "server"), {"NETVPS_SSH_PORT": "70000"}, "NETVPS_SSH_PORT: '70000' is wrong: give a value less"),
        (("--shape", "server"), {"NETVPS_SSH_PORT": "22\nX=1"}, "NETVPS_SSH_PORT: '22\\nX=1' is wrong"),
        (("--shape", "server"), {"NETVPS_SERVER_IMAGE": "A:B:C"}, "NETVPS_SERVER_IMAGE: "),
        (
            ("--shape", "server-auth", "--public-name", "a,b"),
            {},
            "--public-name: 'a,b' is wrong: the shape server-auth has",
        ),
        (("--shape", "server-auth"), {}, "--public-name: the shape server-auth needs it: give the host name"),
        (
            ("--shape", "server-auth", "--public-name", "a"),
            {"NETVPS_HTTPS_PORT": "x"},
            "NETVPS_HTTPS_PORT: 'x' is wrong: give a whole number",
        ),
        (("--shape", "all-in-one"), {"NETVPS_STATE": "here"}, "NETVPS_STATE: 'here' is wrong: give a whole path"),
        (("--shape", "all-in-one"), {"NETVPS_LISTEN": "all"}, "NETVPS_LISTEN: 'all' is wrong: give an IP address"),
    ],
)
def test_a_wrong_value_is_named_and_nothing_is_written(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    words: tuple[str, ...],
    variables: dict[str, str],
    said: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ran = run("init", *words, str(tmp_path / "new"))
    assert ran.code == 2
    assert said in ran.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("content", ["", "x" * (65 << 10)])
def test_a_token_that_cannot_be_one_is_refused(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    ran = run("init", *RUNNER, "--join-token", str(tmp_path / "token"), str(tmp_path / "new"))
    assert ran.code == 10
    assert "--join-token" in ran.err
    ran = run("init", *RUNNER, "--join-token", str(tmp_path / "none"), str(tmp_path / "new"))
    assert "cannot be read: No such file or directory" in ran.err
    assert not (tmp_path / "new").exists()
