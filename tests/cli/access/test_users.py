"""`netvps user`."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from netvps import exit_codes
from netvps.domain.access.accounts import ApiKey, Role, Scope
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient


def test_people_come_and_go(run: Run, fake: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("user", "add", "bob", "--admin").out == "bob\n"
    assert run("user", "add", "eve", "--role", "operator").out == "eve\n"
    assert run("user", "ls").out.splitlines()[1].split()[:2] == ["alice", "admin"]
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("user", "rm", "bob").code == exit_codes.USAGE
    assert run("user", "rm", "bob", "--yes").out == "bob\n"
    assert fake.asked == [
        ("create_user", "bob", Role.ADMIN),
        ("create_user", "eve", Role.OPERATOR),
        ("list_users",),
        ("delete_user", "bob"),
    ]


def test_a_role_is_shown_and_changed(run: Run, fake: FakeClient) -> None:
    assert run("user", "set", "bob", "--role", "operator").out == "bob\n"
    assert json.loads(run("user", "set", "bob", "--role", "viewer", "-o", "json").out)["role"] == "ROLE_VIEWER"
    assert run("user", "set", "bob").code == exit_codes.USAGE
    assert json.loads(run("user", "show", "-o", "json").out)["name"].startswith("users/")
    assert fake.asked == [
        *(("update_user", "bob", role, {}) for role in (Role.OPERATOR, Role.VIEWER)),
        ("get_user_quota", "me"),
        ("get_user", "me"),
    ]


def test_an_api_key_is_data_and_can_be_revoked(run: Run, fake: FakeClient) -> None:
    ran = run("user", "api-key", "bob")
    assert ran.out == "nv_kid_secret\n"
    assert "secret" not in ran.err
    assert run("user", "api-key", "bob", "--revoke", "nv_kid_secret").out == "kid\n"
    assert fake.asked == [("create_api_key", "bob", "", None, Scope.FULL), ("delete_api_key", "bob/kid")]


def test_an_api_key_has_a_title_and_an_end(run: Run, fake: FakeClient) -> None:
    run("user", "api-key", "--title", "ci", "--expires", "90d")
    run("user", "api-key", "create", "ls", "--scope", "read")
    assert fake.asked == [
        ("create_api_key", "me", "ci", 90 * 86_400, Scope.FULL),
        ("create_api_key", "ls", "", None, Scope.READ),
    ]


def test_an_api_key_is_rotated(run: Run, fake: FakeClient) -> None:
    ran = run("user", "api-key", "rotate", "nv_0123456789ab_secret", "--user", "bob", "--overlap", "1h")
    assert ran.out == "nv_kid_secret\n"
    run("user", "api-key", "rotate", "0123456789ab")
    assert fake.asked == [("rotate_api_key", "bob/0123456789ab", 3600), ("rotate_api_key", "me/0123456789ab", 86_400)]


def test_api_keys_are_listed_and_revoked(run: Run, fake: FakeClient) -> None:
    fake.api_keys = [
        ApiKey("0123456789ab", "alice", "laptop", NOW, NOW + timedelta(days=90), datetime.now(UTC)),
        ApiKey("123456789abc", "alice", "", NOW),
    ]
    first, second = run("user", "api-key", "ls").out.splitlines()[1:]
    assert first.split()[:2] == ["0123456789ab", "laptop"]
    assert first.split()[-2:] == ["0s", "ago"]
    assert second.split()[-2:] == ["never", "-"]
    (listed, _) = json.loads(run("user", "api-key", "ls", "-o", "json").out)
    assert listed["name"] == "users/alice/apiKeys/0123456789ab"
    assert run("user", "api-key", "revoke", "nv_0123456789ab_secret").out == "0123456789ab\n"
    run("user", "api-key", "revoke", "0123456789ab", "--user", "bob")
    assert fake.asked[-2:] == [("delete_api_key", "me/0123456789ab"), ("delete_api_key", "bob/0123456789ab")]
