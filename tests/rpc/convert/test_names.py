from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from tests.rpc.convert import values

if TYPE_CHECKING:
    from collections.abc import Callable


@given(values.full_names)
def test_names_come_back_as_they_were(name: object) -> None:
    assert names.parse_session_name(names.session_name(str(name))) == str(name)


@given(values.labels, values.text.filter(bool))
def test_names_of_keys_come_back_as_they_were(user: str, key: str) -> None:
    assert names.parse_user_name(names.user_name(user)) == user
    assert names.parse_runner_name(names.runner_name(user)) == user
    assert names.parse_ssh_key_name(names.ssh_key_name(user, key)) == (user, key)
    assert names.parse_api_key_name(names.api_key_name(user, key)) == (user, key)


def test_a_fingerprint_may_stand_for_a_key() -> None:
    assert names.parse_ssh_key_name("users/me/sshKeys/SHA256:ab/cd+e") == ("me", "SHA256:ab/cd+e")


@pytest.mark.parametrize(("text", "parent"), [("", ""), ("users/me", ""), ("users/-", "-"), ("users/bob", "bob")])
def test_parents(text: str, parent: str) -> None:
    assert names.parse_parent(text) == parent


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (names.parse_session_name, "dev1"),
        (names.parse_session_name, "sessions/"),
        (names.parse_session_name, "sessions/a.b.c"),
        (names.parse_session_name, "sessions/a."),
        (names.parse_session_name, "sessions/A"),
        (names.parse_session_name, "sessions/sessions/a"),
        (names.parse_user_name, "users/-"),
        (names.parse_user_name, "bob"),
        (names.parse_runner_name, "runners/a/b"),
        (names.parse_ssh_key_name, "users/bob/sshKeys/"),
        (names.parse_ssh_key_name, "sshKeys/x"),
        (names.parse_api_key_name, "users/bob"),
    ],
)
def test_a_malformed_name_is_a_violation_of_field_name(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse(text)
    assert [violation.field for violation in error.value.violations] == ["name"]
