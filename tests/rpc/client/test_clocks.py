"""A server whose certificate is not good by this machine's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from netvps.adapters.ca.opening import open_ca
from netvps.errors import Unauthenticated, Unavailable
from netvps.rpc.client import trust
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.client import Client

AHEAD, BEHIND = timedelta(days=3), timedelta(days=-4000)


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are not repeated, which takes seconds."""
    monkeypatch.setattr("netvps.rpc.client.transport.service_config", lambda: "{}")


@asynccontextmanager
async def _server(folder: Path, ca_clock: timedelta, clock: timedelta) -> AsyncIterator[Endpoint]:
    """A server without services; its CA was made, and its certificate is made, when its clock is that much ahead."""
    shifts = iter([ca_clock] * 3)
    authority = open_ca(folder, "c1", lambda: datetime.now(UTC) + next(shifts, clock))
    own = authority.server_certificate(())
    server = grpc.aio.server()
    credentials = grpc.ssl_server_credentials([(own.key.encode(), own.certificate.encode())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield Endpoint(f"127.0.0.1:{port}", authority.certificate, "nv_a_b")
    await server.stop(0)


def _ask(endpoint: Endpoint) -> None:
    with Client(endpoint) as client:
        client.get_user()


@pytest.mark.parametrize(("ca_clock", "clock"), [(AHEAD, AHEAD), (timedelta(), AHEAD), (BEHIND, BEHIND)])
async def test_dates_and_clock_are_named_and_no_attack_is_suspected(
    tmp_path: Path, ca_clock: timedelta, clock: timedelta
) -> None:
    async with _server(tmp_path / "ca", ca_clock, clock) as endpoint:
        with pytest.raises(Unavailable) as caught:
            await asyncio.to_thread(_ask, endpoint)
    said, today = str(caught.value), datetime.now(UTC)
    assert f"is valid from {today + clock - timedelta(days=1):%Y-%m-%d} " in said
    assert f"this machine's clock says {today:%Y-%m-%d} " in said
    assert "set the clock that is wrong, here or there (timedatectl set-ntp true); it is the right server" in said
    assert "pinned" not in said
    assert "in between" not in said


async def test_a_wrong_server_with_a_wrong_date_is_a_wrong_server(tmp_path: Path) -> None:
    right = open_ca(tmp_path / "right", "c1", lambda: datetime.now(UTC))
    async with _server(tmp_path / "ca", AHEAD, AHEAD) as endpoint:
        with pytest.raises(Unauthenticated, match="shows a certificate of another CA"):
            await asyncio.to_thread(_ask, Endpoint(endpoint.address, right.certificate, "nv_a_b"))


async def test_login_says_it_too(tmp_path: Path) -> None:
    async with _server(tmp_path / "ca", AHEAD, AHEAD) as endpoint:
        with pytest.raises(Unavailable, match="this machine's clock says"):
            await asyncio.to_thread(trust.fetch_server_info, endpoint.address)
