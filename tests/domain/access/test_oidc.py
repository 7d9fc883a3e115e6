"""Which accounts of an issuer may log in, and under which name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from netvps.domain.access.oidc import LoginRules, Person, person_of
from netvps.errors import NetvpsError, NotPermitted, Unauthenticated

RULES = LoginRules("https://login.example", "netvps", "netvps", domains=("example.org",))
ANN: dict[str, Any] = {
    "sub": "8f3a",
    "preferred_username": "Ann.Lee@example.org",
    "email": "ann@EXAMPLE.org",
    "email_verified": True,
    "groups": ["lab", 7],
}


@pytest.mark.parametrize(
    "rules",
    [
        RULES,
        replace(RULES, groups=("lab",), domains=()),
        replace(RULES, groups=("admins",)),
        replace(RULES, domains=("*",)),
    ],
)
def test_a_group_or_a_domain_admits(rules: LoginRules) -> None:
    assert person_of(ANN, rules) == Person("8f3a", "ann-lee")


@pytest.mark.parametrize(
    ("claims", "rules", "kind", "words"),
    [
        ({}, replace(RULES, groups=("x", "y"), domains=()), NotPermitted, "for accounts in a group of x, y; ask an"),
        ({"email": "ann@evil.example"}, RULES, NotPermitted, "for accounts with an address at example.org; ask an"),
        ({"email": "ann@example.org.evil.example"}, RULES, NotPermitted, "with an address at example.org"),
        ({"email": "example.org"}, replace(RULES, domains=("example",)), NotPermitted, "may not log in here"),
        ({"email_verified": "true"}, RULES, NotPermitted, "has not verified your email address 'ann@EXAMPLE.org':"),
        ({"email": None}, RULES, NotPermitted, "has not verified your email address: verify it there"),
        ({"groups": "lab"}, replace(RULES, groups=("lab",), domains=()), NotPermitted, "may not log in here"),
        ({"preferred_username": "äöü"}, RULES, NotPermitted, "no claim preferred_username that makes a user name"),
        ({"preferred_username": 7}, RULES, NotPermitted, "ask an admin of this server to check oidc_user_claim"),
        ({"email_verified": False}, replace(RULES, domains=("*",), user_claim="email"), NotPermitted, "not verified"),
        ({"sub": ""}, RULES, Unauthenticated, "has no usable subject"),
        ({"sub": "a b"}, RULES, Unauthenticated, "has no usable subject"),
        ({"sub": "x" * 256}, RULES, Unauthenticated, "has no usable subject"),
        ({"sub": None}, RULES, Unauthenticated, "has no usable subject"),
    ],
)
def test_all_others_are_refused(claims: dict[str, Any], rules: LoginRules, kind: type[NetvpsError], words: str) -> None:
    with pytest.raises(kind, match=words):
        person_of(ANN | claims, rules)
