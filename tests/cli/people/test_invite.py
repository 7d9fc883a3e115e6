"""`netvps invite`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.server import contexts
from netvps.domain.access.accounts import Role
from tests.cli.conftest import Run
from tests.cli.fake_client import INFO, FakeClient

TOKEN = "nvi_kid_secret_fingerprint"


def test_the_token_is_data_and_what_to_do_with_it_is_said(run: Run, fake: FakeClient) -> None:
    fake.info = replace(INFO, names=("vps.example", "192.0.2.1"), api_address=":7443")
    ran = run("invite", "create", "--role", "operator", "--ttl", "1h", "--note", "Ann")
    assert ran.out == f"{TOKEN}\n"
    assert "netvps register vps.example --user NAME" in ran.err
    assert TOKEN not in ran.err
    assert fake.asked[0] == ("create_invitation", Role.OPERATOR, 3600, "Ann")


def test_the_command_names_the_port_and_the_address_of_a_context(run: Run, fake: FakeClient) -> None:
    fake.info = replace(INFO, names=("2001:db8::1",), api_address=":7553")
    assert "netvps register [2001:db8::1]:7553 --user" in run("invite", "create").err
    contexts.save(contexts.Context("far", "vps.example:7443", "pem", "nv_x"))
    assert "netvps register vps.example --user" in run("--context", "far", "invite", "create").err
    assert fake.asked[0] == ("create_invitation", Role.USER, 72 * 3600, "")


@pytest.mark.usefixtures("fake")
def test_the_token_may_go_into_a_file(run: Run, tmp_path: Path) -> None:
    ran = run("invite", "create", "--file", str(tmp_path / "token"))
    assert (ran.code, ran.out) == (0, "")
    assert (tmp_path / "token").read_text() == f"{TOKEN}\n"
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert run("invite", "create", "--file", str(tmp_path / "no/token")).code == exit_codes.CONFIGURATION
    assert json.loads(run("invite", "create", "-o", "json").out)["token"] == TOKEN


def test_invitations_are_listed_and_revoked(run: Run, fake: FakeClient) -> None:
    rows = run("invite", "ls").out.splitlines()
    assert "open" in rows[1]
    assert "redeemed by bob" in rows[2]
    assert json.loads(run("invite", "ls", "-o", "jsonl").out.splitlines()[1])["user"] == "users/bob"
    assert run("invite", "rm", "kid", TOKEN, "invitations/kid").out == "kid\n" * 3
    assert fake.asked[-3:] == [("delete_invitation", "kid")] * 3
