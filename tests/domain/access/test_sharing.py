from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.access.sharing import Right, Share, ShareRole, missing_right, right_for_login
from netvps.domain.names import SshLogin
from netvps.errors import InvalidInput

NOW = datetime(2026, 5, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (ShareRole.VIEW, {Right.READ, Right.WATCH}),
        (ShareRole.USE, {Right.READ, Right.WATCH, Right.LOGIN}),
    ],
)
def test_a_role_permits_no_more_than_it_says_and_nothing_after_its_end(role: ShareRole, rights: set[Right]) -> None:
    share = Share("uid", "ann", "bob", role, NOW, NOW + timedelta(hours=1))
    for right in Right:
        assert share.permits(right, NOW) == (right in rights)
        assert not share.permits(right, NOW + timedelta(hours=1))
    assert Share("uid", "ann", "bob", role, NOW).permits(Right.READ, NOW + timedelta(days=10_000))


@pytest.mark.parametrize(
    ("login", "right"),
    [
        ("dev1.ann", Right.LOGIN),
        ("wake+dev1.ann", Right.LOGIN),
        ("dev1.ann+www-data", Right.LOGIN),
        ("watch+dev1.ann", Right.WATCH),
        ("dev1.ann+.snapshots", Right.MANAGE),
    ],
)
def test_what_a_login_needs(login: str, right: Right) -> None:
    assert right_for_login(SshLogin.parse(login).unix_user) is right


def test_a_session_is_not_shared_with_its_owner() -> None:
    with pytest.raises(InvalidInput, match=r"^user: ann owns the session: share it with another user$"):
        Share("uid", "ann", "ann", ShareRole.USE, NOW)


def test_what_is_not_permitted_names_the_role_and_whom_to_ask() -> None:
    said = missing_right("dev1.ann", "ann", ShareRole.VIEW, Right.LOGIN)
    assert said == "session dev1.ann is shared with you with role view, not to log in: ask ann"
