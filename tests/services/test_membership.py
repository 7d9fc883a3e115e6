from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import timedelta

import pytest

from netvps.domain.peer_server import PeerServer
from netvps.errors import Unavailable
from netvps.services.membership import LEASE, Membership
from tests.support.patience import PATIENCE

OWN, OTHER = PeerServer("1", "a:7444"), PeerServer("2", "b:7444")


class _Rows:
    def __init__(self) -> None:
        self.away = False
        self.forgotten: list[str] = []
        self.renewed = asyncio.Queue[PeerServer]()

    async def renew_server(self, own: PeerServer, lease: timedelta) -> list[PeerServer]:
        assert lease > timedelta()
        self.renewed.put_nowait(own)
        if self.away:
            raise Unavailable("the database is away")
        return [OTHER]

    async def forget_server(self, uid: str) -> None:
        if self.away:
            raise Unavailable("the database is away")
        self.forgotten.append(uid)


@pytest.mark.parametrize("away", [False, True])
async def test_a_server_renews_at_a_third_of_its_lease_or_when_a_stranger_calls_and_leaves_at_its_end(
    away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, met = _Rows(), list[Collection[PeerServer]]()
    membership = Membership(rows, OWN, met.append)
    task = asyncio.ensure_future(membership.run())
    async with asyncio.timeout(PATIENCE):
        assert await rows.renewed.get() == OWN
        rows.away = away
        membership.look()
        await rows.renewed.get()
        monkeypatch.setattr("netvps.services.membership.LEASE", LEASE / 1e6)
        membership.look()
        for _ in range(3):
            await rows.renewed.get()
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert met[0] == [OTHER]
    assert rows.forgotten == ([] if away else [OWN.uid])
