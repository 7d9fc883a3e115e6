"""`netvps login --sso`: a code is shown, and the server asked until the person confirmed it."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netvps import client, exit_codes
from netvps.adapters.ca.opening import open_ca
from netvps.cli.server import contexts
from netvps.domain.access.oidc import LoginState
from netvps.errors import NotPermitted, Unavailable
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient
from tests.fakes.keys import ed25519

LOGIN = ("login", "vps.example", "--sso", "--yes", "--no-config-ssh", "--ssh-key")


@pytest.fixture
def key(tmp_path: Path) -> str:
    (tmp_path / "ann.pub").write_text(f"{ed25519(1)} ann@laptop\n")
    return str(tmp_path / "ann.pub")


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    certificate = open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC)).certificate
    info = replace(INFO, ca_certificate=certificate, oidc_issuer="https://login.example")
    monkeypatch.setattr(client, "fetch_server_info", lambda _: info)
    return certificate


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds between two questions; they pass at once."""
    passed: list[float] = []
    began = time.monotonic()
    monkeypatch.setattr(time, "sleep", passed.append)
    monkeypatch.setattr(time, "monotonic", lambda: began + sum(passed))
    return passed


def test_the_code_is_shown_and_the_key_kept(run: Run, fake: FakeClient, ca: str, key: str, pauses: list[float]) -> None:
    fake.login_answers = [LoginState.PENDING, LoginState.SLOW_DOWN, Unavailable("it does not answer"), LoginState.DONE]
    ran = run(*LOGIN, key)
    assert (ran.code, ran.out) == (0, "vps-example\n")
    assert "https://login.example/device?user_code=WDJB-MJHT\n" in ran.err
    assert "WDJB-MJHT\n" in ran.err
    assert "it does not answer; trying again" in ran.err
    assert "the API key works until 2026-01-02 03:04 UTC; log in again then" in ran.err
    assert "nv_kid_secret" not in ran.out + ran.err
    assert pauses == [5, 5, 10, 10]
    assert contexts.resolve("vps-example") == contexts.Context("vps-example", "vps.example:7443", ca, "nv_kid_secret")
    assert fake.asked[:2] == [("start_login",), ("finish_login", "sealed", "ssh-ed25519")]


@pytest.mark.usefixtures("ca", "pauses")
def test_a_code_that_is_not_confirmed_ends_the_wait(run: Run, fake: FakeClient, key: str) -> None:
    fake.login_answers = [LoginState.PENDING] * 1000
    ran = run(*LOGIN, key)
    assert ran.code == exit_codes.TIMEOUT
    assert "the code was not confirmed within" in ran.err
    assert 100 < len([call for call, *_ in fake.asked if call == "finish_login"]) <= 120
    assert contexts.names() == ["local"]


@pytest.mark.usefixtures("ca", "pauses")
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotPermitted("your account may not log in here"), (exit_codes.NOT_ALLOWED, "may not log in here")),
        (KeyboardInterrupt(), (exit_codes.INTERRUPTED, "you are not logged in")),
    ],
)
def test_a_refusal_or_ctrl_c_keeps_nothing(
    run: Run, fake: FakeClient, key: str, error: BaseException, expected: tuple[int, str]
) -> None:
    fake.login_answers = [error]
    ran = run(*LOGIN, key)
    code, words = expected
    assert ran.code == code
    assert words in ran.err
    assert contexts.names() == ["local"]


def test_a_server_without_an_issuer_says_the_other_way(
    run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch, ca: str, key: str
) -> None:
    monkeypatch.setattr(client, "fetch_server_info", lambda _: replace(INFO, ca_certificate=ca))
    ran = run(*LOGIN, key)
    assert ran.code == exit_codes.NOT_ALLOWED
    assert "log in with an API key, with netvps login vps.example" in ran.err
    assert fake.asked == []


@pytest.mark.usefixtures("ca")
def test_one_way_to_log_in_at_a_time(run: Run, fake: FakeClient, key: str) -> None:
    for options in (["--sso", "--key-file", key], ["--ssh-key", key]):
        ran = run("login", "vps.example", "--yes", *options)
        assert ran.code == exit_codes.USAGE
        assert "choose one way to log in" in ran.err
    assert fake.asked == []


@pytest.mark.usefixtures("ca")
def test_who_gives_a_key_hears_of_the_other_way(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("nv_kid_secret\n"))
    ran = run("login", "vps.example", "--yes", "--no-config-ssh")
    assert "to log in with your account at https://login.example instead: netvps login vps.example --sso" in ran.err
    assert [call for call, *_ in fake.asked] == ["get_user"]
