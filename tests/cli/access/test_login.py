"""`netvps login`, `logout` and contexts: whom one trusts, and what is kept where."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from netvps import client, exit_codes
from netvps.adapters.ca.opening import open_ca
from netvps.cli.access.login import fingerprint, with_port
from netvps.cli.server import contexts
from netvps.errors import ConfigError, NotFound, Unauthenticated
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient

KEY = "nv_kid_secret"


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The certificate of a server that answers wherever it is asked."""
    certificate = open_ca(tmp_path / "ca", "c1", lambda: datetime.now(UTC)).certificate
    monkeypatch.setattr(client, "fetch_server_info", lambda _: replace(INFO, ca_certificate=certificate))
    return certificate


@pytest.fixture
def piped_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{KEY}\n"))


@pytest.mark.usefixtures("piped_key")
def test_a_known_fingerprint_asks_nothing_and_keeps_all_for_its_owner_alone(
    run: Run, fake: FakeClient, ca: str, home: Path
) -> None:
    ran = run("login", "vps.example", "--ca-fingerprint", fingerprint(ca).upper(), "--no-config-ssh")
    assert (ran.code, ran.out) == (0, "vps-example\n")
    assert "you are alice (admin) at vps.example:7443" in ran.err
    file = home / "config/contexts/vps-example.json"
    assert json.loads(file.read_text()) == {
        "name": "vps-example", "address": "vps.example:7443", "ca_certificate": ca, "api_key": KEY,
    }  # fmt: skip
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert contexts.resolve() == contexts.Context("vps-example", "vps.example:7443", ca, KEY)
    assert KEY not in repr(contexts.resolve())
    assert [call for call, *_ in fake.asked] == ["get_user"]


@pytest.mark.usefixtures("piped_key", "ca")
def test_another_fingerprint_ends_it_before_the_key_is_read(run: Run, fake: FakeClient) -> None:
    ran = run("login", "vps.example", "--ca-fingerprint", "ab" * 32)
    assert ran.code == exit_codes.NOT_ALLOWED
    assert "nothing was sent to it" in ran.err
    assert fake.asked == []
    assert sys.stdin.readline() == f"{KEY}\n"


@pytest.mark.usefixtures("piped_key", "ca")
def test_where_no_comparison_is_possible_it_must_be_given(run: Run, fake: FakeClient) -> None:
    ran = run("login", "vps.example")
    assert ran.code == exit_codes.USAGE
    assert "--ca-fingerprint" in ran.err
    assert fake.asked == []
    assert contexts.names() == ["local"]


@pytest.mark.usefixtures("ca")
def test_a_key_that_the_server_does_not_know_is_not_kept(run: Run, fake: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    fake.errors["get_user"] = Unauthenticated("this API key is not known")
    assert run("login", "vps.example", "--yes", "--key-file", str(tmp_path / "key")).code == exit_codes.NOT_ALLOWED
    assert contexts.names() == ["local"]


@pytest.mark.usefixtures("fake", "ca")
def test_what_is_no_key_is_said_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hunter2\n"))
    ran = run("login", "vps.example", "--yes")
    assert ran.code == exit_codes.USAGE
    assert "hunter2" not in ran.err


def test_a_damaged_context_says_where_it_is(home: Path) -> None:
    contexts.save(contexts.Context("one", "one:1", "pem", KEY))
    (home / "config/contexts/one.json").write_text("{")
    with pytest.raises(ConfigError, match="`netvps login HOST` writes it again"):
        contexts.resolve("one")
    with pytest.raises(NotFound):
        contexts.forget("two")


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("vps.example", "vps.example:7443"),
        ("vps.example:443", "vps.example:443"),
        ("192.0.2.1", "192.0.2.1:7443"),
        ("2001:db8::1", "[2001:db8::1]:7443"),
        ("[2001:db8::1]", "[2001:db8::1]:7443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
    ],
)
def test_what_is_typed_as_host(typed: str, address: str) -> None:
    assert with_port(typed) == address


@pytest.mark.parametrize("typed", ["vps.example:", "vps.example:https"])
def test_what_is_no_host(typed: str) -> None:
    with pytest.raises(click.BadParameter):
        with_port(typed)
