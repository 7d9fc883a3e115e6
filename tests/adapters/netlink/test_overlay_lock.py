from __future__ import annotations

import asyncio
import os
import secrets
import socket

import pytest

from netvps.adapters.netlink.overlay_lock import OverlayLock, YieldingLock
from netvps.domain.overlay.kernel.links import ObjectNames
from netvps.errors import Unavailable


@pytest.fixture
def names() -> ObjectNames:
    """Of nobody else in this namespace."""
    return ObjectNames(device=f"nvt{secrets.token_hex(4)}")


async def test_one_has_it_until_it_lets_go(names: ObjectNames) -> None:
    one, other = OverlayLock(names), OverlayLock(names)
    assert not one.held()
    assert one.take()
    assert one.take()
    assert other.held()
    assert not other.take()
    assert not other.yields()
    assert not await other.take_over(5)
    one.free()
    one.free()
    assert other.take()
    other.free()


async def test_who_yields_is_asked_and_waited_for(names: ObjectNames) -> None:
    server, runner = OverlayLock(names), OverlayLock(names)
    with YieldingLock(names) as yielding:
        assert server.take()
        assert runner.yields()
        taking = asyncio.ensure_future(runner.take_over(10))
        async with asyncio.timeout(5):
            await yielding.asked()
        assert not taking.done()
        server.free()
        assert await taking
    runner.free()
    assert not OverlayLock(names).yields()


async def test_who_hears_and_does_nothing_is_not_waited_for_for_ever(names: ObjectNames) -> None:
    server, runner = OverlayLock(names), OverlayLock(names)
    with YieldingLock(names):
        assert server.take()
        for _ in range(20):  # more than the kernel keeps for who does not listen
            assert not await runner.take_over(0.01)
    server.free()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be another user")
async def test_other_users_are_not_heard(names: ObjectNames) -> None:
    with YieldingLock(names) as yielding:
        asked = asyncio.ensure_future(yielding.asked())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            os.setreuid(65534, 0)
            try:
                stranger.sendto(b"?", f"\0netvps overlay {names.device} yields")
            finally:
                os.setreuid(0, 0)
        await asyncio.sleep(0.1)
        assert not asked.done()
        OverlayLock(names)._ask()
        await asyncio.wait_for(asked, 5)


def test_two_do_not_yield_at_once(names: ObjectNames) -> None:
    with YieldingLock(names), pytest.raises(Unavailable, match="another server"), YieldingLock(names):
        pass
