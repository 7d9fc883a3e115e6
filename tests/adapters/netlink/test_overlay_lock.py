from __future__ import annotations

import secrets

import pytest

from netvps.adapters.netlink.overlay_lock import OverlayLock
from netvps.domain.overlay.kernel.links import ObjectNames


@pytest.fixture
def names() -> ObjectNames:
    """Used by no other test in this namespace."""
    return ObjectNames(device=f"nvt{secrets.token_hex(4)}")


def test_one_process_has_it_until_it_lets_go(names: ObjectNames) -> None:
    one, other = OverlayLock(names), OverlayLock(names)
    assert one.acquire()
    assert one.acquire()
    assert not other.acquire()
    one.release()
    one.release()
    assert other.acquire()
    other.release()
