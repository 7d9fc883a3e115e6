"""`netvps user`."""

from __future__ import annotations

import io
import sys

import pytest

from netvps.cli import exit_codes
from netvps.domain.access import Role
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def test_people_come_and_go(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("user", "add", "bob", "--admin").out == "bob\n"
    assert run("user", "ls").out.splitlines()[1].split()[:2] == ["alice", "admin"]
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("user", "rm", "bob").code == exit_codes.USAGE
    assert run("user", "rm", "bob", "--yes").out == "bob\n"
    assert fake.asked == [("create_user", "bob", Role.ADMIN), ("list_users",), ("delete_user", "bob")]


def test_an_api_key_is_data_and_can_be_revoked(run: Run, fake: FakeClient) -> None:
    ran = run("user", "api-key", "bob")
    assert ran.out == "nv_kid_secret\n"
    assert "secret" not in ran.err
    assert run("user", "api-key", "bob", "--revoke", "nv_kid_secret").out == "kid\n"
    assert fake.asked == [("create_api_key", "bob", "", None), ("delete_api_key", "bob/kid")]
