"""`netvps cp`: which scp it becomes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netvps import exit_codes
from netvps.cli.session.cp import session_of
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient, session
from tests.cli.session.conftest import Became


def test_it_becomes_scp_with_the_key_and_the_host_key_of_the_gateway(
    run: Run, fake: FakeClient, became: list[list[str]]
) -> None:
    fake.sessions = {"dev1": session(), "db.bob": session("db")}
    with pytest.raises(Became):
        run("cp", "-r", "-q", "--", "notes", "-x", "bob@sessions/db.bob:/srv/a b", "dev1:")
    line = became[0]
    assert line[:4] == ["scp", "-3", "-P", "2222"]
    assert "StrictHostKeyChecking=yes" in line
    assert any(word.startswith("CertificateFile=") for word in line)
    assert line[line.index("-r") :] == [
        "-r", "-q", "--", "./notes", "./-x", "db.bob+bob@127.0.0.1:/srv/a b", "dev1@127.0.0.1:",
    ]  # fmt: skip


def test_a_gateway_may_have_an_ipv6_address(run: Run, fake: FakeClient, became: list[list[str]]) -> None:
    fake.sessions = {"dev1": session()}
    fake.info = replace(INFO, ssh_address="[2001:db8::1]:22")
    with pytest.raises(Became):
        run("cp", "dev1:/etc/hosts", ".")
    assert became[0][-2:] == ["dev1@[2001:db8::1]:/etc/hosts", "."]


@pytest.mark.parametrize(
    ("place", "login"),
    [("dev1:/x", "dev1"), ("bob@dev1.alice:", "dev1.alice+bob"), ("sessions/dev1:x", "dev1"), ("dev1:a:b", "dev1")],
)
def test_a_place_in_a_session(place: str, login: str) -> None:
    found = session_of(place)
    assert found is not None
    assert found.login == login


@pytest.mark.parametrize("place", ["/etc/hosts", "./a:b", "folder/a:b", "notes.txt", "."])
def test_a_place_on_this_machine(place: str) -> None:
    assert session_of(place) is None


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["notes.txt"], "TARGET is missing: give what to copy, and where to, for example notes.txt dev1:"),
        (["a", "b"], "no session is named: write NAME:PATH, for example a dev1:"),
        (["a", "Dev:"], "NAME: 'Dev' is not a name"),
        (["a", ""], "SOURCE: the value is empty"),
    ],
)
def test_what_is_missing_is_reported(words: list[str], shown: str, run: Run, fake: FakeClient) -> None:
    ran = run("cp", *words)
    assert (ran.code, fake.asked) == (exit_codes.USAGE, [])
    assert shown in ran.err
