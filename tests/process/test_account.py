from __future__ import annotations

import os
import pwd
from types import SimpleNamespace

import pytest

from netvps.domain.access.accounts import Role, User
from netvps.process import account, clock


@pytest.mark.parametrize(
    ("login", "user"),
    [("root", "root"), ("Eva.Maria", "eva-maria"), ("_apt", "apt"), ("x" * 40, "x" * 32), ("---", "u7")],
)
def test_an_accounts_name_becomes_a_label(monkeypatch: pytest.MonkeyPatch, login: str, user: str) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name=login))
    assert account.user_name(7) == user
    User(user, Role.ADMIN, clock.now())


def test_an_account_without_a_name_has_its_number() -> None:
    assert account.user_name(4_000_000_000) == "u4000000000"


def test_root_and_we_are_the_same_person() -> None:
    assert set(account.local_users()) == {0, os.geteuid()}
    assert len(set(account.local_users().values())) == 1
