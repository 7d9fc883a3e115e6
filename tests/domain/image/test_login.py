from __future__ import annotations

from datetime import UTC, datetime

import pytest

from netvps.domain.image.login import PASSWORD_MAX, Credential, RegistryLogin
from netvps.errors import InvalidInput


def test_a_password_is_in_no_text_of_a_credential() -> None:
    credential = Credential("registry.example", "ci", "hunter2")
    login = RegistryLogin("registry.example", "ci", "hunter2", datetime.now(UTC), datetime.now(UTC))
    assert "hunter2" not in f"{credential} {credential!r} {login} {login!r}"
    assert login.key == "registry.example"


def test_every_violation_is_named_and_no_password_shown() -> None:
    with pytest.raises(InvalidInput) as refused:
        Credential("https://a", "", "hunter2\n")
    assert [violation.field for violation in refused.value.violations] == ["host", "username", "password"]
    assert "hunter2" not in str(refused.value)
    with pytest.raises(InvalidInput):
        Credential("a", "b", "x" * (PASSWORD_MAX + 1))
