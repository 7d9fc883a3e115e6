from __future__ import annotations

from netvps.domain.names import SessionName
from tests.domain.session.test_lifecycle import NEW


def test_a_session_is_known_by_its_uid_and_called_by_its_name() -> None:
    assert NEW.key == NEW.uid
    assert NEW.full_name == SessionName("alice", "dev1")
