"""The server of NETVPS_ADDRESS, NETVPS_API_KEY and NETVPS_CA."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.server import contexts
from netvps.cli.server.contexts import Context
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").write_text(PEM)
    return tmp_path / "ca.pem"


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, ca: Path) -> None:
    monkeypatch.setenv("NETVPS_ADDRESS", "vps.example")
    monkeypatch.setenv("NETVPS_API_KEY", "nv_kid_secret\n")
    monkeypatch.setenv("NETVPS_CA", str(ca))


@pytest.mark.usefixtures("job")
def test_three_variables_are_enough() -> None:
    found = contexts.resolve()
    assert found == Context("environment", "vps.example:7443", PEM, "nv_kid_secret")
    assert "secret" not in repr(found)


@pytest.mark.usefixtures("job")
def test_a_context_that_is_named_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert contexts.resolve("local").name == "local"
    monkeypatch.setenv("NETVPS_CONTEXT", "local")
    assert contexts.resolve().name == "local"


@pytest.mark.parametrize(
    ("given", "meant"), [("[2001:db8::1]", "[2001:db8::1]:7443"), ("a.example:443", "a.example:443")]
)
@pytest.mark.usefixtures("job")
def test_the_port_may_be_left_out(monkeypatch: pytest.MonkeyPatch, given: str, meant: str) -> None:
    monkeypatch.setenv("NETVPS_ADDRESS", given)
    assert contexts.resolve().address == meant


@pytest.mark.usefixtures("job")
def test_the_key_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("nv_kid_other\n")
    monkeypatch.setenv("NETVPS_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(Exception, match="NETVPS_API_KEY and NETVPS_API_KEY_FILE are both set: keep one"):
        contexts.resolve()
    monkeypatch.delenv("NETVPS_API_KEY")
    assert contexts.resolve().api_key == "nv_kid_other"


@pytest.mark.usefixtures("job")
def test_a_context_of_that_address_vouches_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETVPS_CA")
    contexts.save(Context("lab", "vps.example:7443", "PEM of lab", "nv_a_b"))
    assert contexts.resolve() == Context("environment", "vps.example:7443", "PEM of lab", "nv_kid_secret")


def test_a_socket_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETVPS_ADDRESS", "unix:/run/x.sock")
    assert contexts.resolve() == Context("environment", "unix:/run/x.sock")


@pytest.mark.usefixtures("job", "fake")
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"NETVPS_ADDRESS": ""}, "NETVPS_API_KEY is set, and NETVPS_ADDRESS is not: set it to HOST:7443"),
        ({"NETVPS_API_KEY": ""}, "NETVPS_API_KEY or NETVPS_API_KEY_FILE holds no API key: it begins with nv_"),
        ({"NETVPS_API_KEY": "password"}, "holds no API key"),
        ({"NETVPS_API_KEY": "", "NETVPS_API_KEY_FILE": "/none"}, "NETVPS_API_KEY_FILE: /none cannot be read: No such"),
        ({"NETVPS_CA": ""}, "NETVPS_CA is not set, and no context knows the CA of vps.example:7443"),
        ({"NETVPS_CA": "/none"}, "NETVPS_CA: /none cannot be read: No such file or directory"),
        ({"NETVPS_CA": "/etc/hostname"}, "NETVPS_CA: /etc/hostname is no certificate in PEM form"),
    ],
)
def test_what_lacks_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ran = run("ls")
    assert ran.code == exit_codes.CONFIGURATION
    assert said in ran.err
    assert "password" not in ran.err


@pytest.mark.usefixtures("job")
def test_a_job_leaves_no_files_and_no_keys_behind(run: Run, fake: FakeClient, home: Path) -> None:
    assert run("create", "dev1", "--no-wait").code == 0
    assert not (home / ".ssh").exists()
    assert fake.keys == []


def test_a_context_cannot_have_that_name() -> None:
    with pytest.raises(Exception, match="context 'environment' is always what NETVPS_ADDRESS names"):
        contexts.save(Context("environment", "a:1"))


@pytest.mark.usefixtures("job", "fake")
def test_the_list_of_contexts_shows_it(run: Run) -> None:
    assert run("context", "ls").out.splitlines()[-1].split() == ["*", "environment", "vps.example:7443"]
    shown = run("context", "show", "--ca")
    assert shown.out == PEM
