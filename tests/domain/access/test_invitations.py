from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netvps.domain.access.accounts import Role, User
from netvps.domain.access.invitations import KEPT, Invitation, InvitationState, may_give

NOW = datetime(2026, 1, 2, tzinfo=UTC)
END = NOW + timedelta(hours=1)
OPEN = Invitation("kid", "root", Role.USER, "", "", NOW, END)
ROOT = User("root", Role.ADMIN, NOW)


@pytest.mark.parametrize(
    ("invitation", "now", "issuer", "state"),
    [
        (OPEN, NOW, ROOT, InvitationState.OPEN),
        (OPEN, END - timedelta(microseconds=1), ROOT, InvitationState.OPEN),
        (OPEN, END, ROOT, InvitationState.EXPIRED),
        (replace(OPEN, end_time=NOW), NOW, ROOT, InvitationState.REVOKED),
        (replace(OPEN, end_time=NOW), END, ROOT, InvitationState.REVOKED),
        (replace(OPEN, end_time=NOW, redeemed_by="ann"), END, None, InvitationState.REDEEMED),
        (OPEN, NOW, None, InvitationState.REVOKED),
        (OPEN, NOW, replace(ROOT, role=Role.OPERATOR), InvitationState.OPEN),
        (OPEN, NOW, replace(ROOT, role=Role.USER), InvitationState.REVOKED),
        (replace(OPEN, role=Role.ADMIN), NOW, replace(ROOT, role=Role.OPERATOR), InvitationState.REVOKED),
    ],
)
def test_the_state(invitation: Invitation, now: datetime, issuer: User | None, state: InvitationState) -> None:
    assert invitation.state(now, issuer) is state


def test_no_role_invites_beyond_itself() -> None:
    given = {issuer: {role for role in Role if may_give(issuer, role)} for issuer in Role}
    assert given == {
        Role.VIEWER: set(),
        Role.USER: set(),
        Role.OPERATOR: {Role.VIEWER, Role.USER, Role.OPERATOR},
        Role.ADMIN: set(Role),
    }


def test_it_is_kept_for_a_while_after_its_end() -> None:
    assert not OPEN.is_outdated(END + KEPT - timedelta(seconds=1))
    assert OPEN.is_outdated(END + KEPT)
    assert replace(OPEN, end_time=NOW).is_outdated(NOW + KEPT)
