from __future__ import annotations

from datetime import UTC, datetime

from netvps.domain.access.accounts import Role, User
from netvps.rpc.jsonform import to_json


def test_json_is_that_of_the_proto() -> None:
    user = User("alice", Role.ADMIN, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), 7)
    assert to_json(user) == {
        "name": "users/alice",
        "role": "ROLE_ADMIN",
        "createTime": "2026-01-02T03:04:05Z",
        "revision": "7",
    }
