from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.access.accounts import Caller, Credential, Role, User, digest
from netvps.errors import InvalidInput, NotPermitted

NOW = datetime(2026, 5, 4, tzinfo=UTC)
FOREVER = Credential("kid", "api", "alice", digest("secret"), NOW, None)


def test_people_see_their_own_and_admins_everything() -> None:
    alice, root = Caller("alice", Role.USER), Caller("root", Role.ADMIN)
    assert [alice.sees("alice"), alice.sees("bob"), root.sees("bob")] == [True, False, True]
    root.require_admin("do it")
    with pytest.raises(NotPermitted, match=r"^user alice may not do it: it needs role admin; ask one of your admins$"):
        alice.require_admin("do it")


@pytest.mark.parametrize(
    ("secret", "life", "age", "good"),
    [
        ("secret", None, 10**6, True),
        ("Secret", None, 0, False),
        ("", None, 0, False),
        ("secret", 60, 59, True),
        ("secret", 60, 60, False),
    ],
)
def test_a_credential_is_good_for_its_secret_and_time(secret: str, life: int | None, age: int, good: bool) -> None:
    credential = replace(FOREVER, expire_time=None if life is None else NOW + timedelta(seconds=life))
    assert credential.matches(secret, NOW + timedelta(seconds=age)) is good


def test_a_user_has_a_label_for_a_name() -> None:
    assert User("alice", Role.USER, NOW).key == "alice"
    with pytest.raises(InvalidInput, match="user_id: 'Alice' is not a name"):
        User("Alice", Role.USER, NOW)


def test_the_digest_is_sha256() -> None:
    assert digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
