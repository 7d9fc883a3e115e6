"""The SSH port tells connections of `netvps ssh-proxy` from those of SSH clients by their first bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from netvps.domain.proxy import GREETING
from netvps.gateway.proxy.greeting import Greeted


class Base:
    """Stands for asyncssh's connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: object | None = object()
        self._owner: object | None = object()
        self.seen = b""

    def data_received(self, data: bytes, datatype: object = None) -> None:
        self.seen += data

    def _cleanup(self, exc: Exception | None) -> None:
        pass


def connection() -> Any:
    """A connection of the mixin and its base, which the type checker takes for asyncssh's."""
    return type("Connection", (Greeted, Base), {})()


@pytest.mark.parametrize("pieces", [(GREETING + b"x",), (GREETING[:1], GREETING[1:6], GREETING[6:] + b"x")])
async def test_a_greeting_takes_the_connection_away(pieces: tuple[bytes, ...]) -> None:
    made = connection()
    taken: list[tuple[object, bytes]] = []
    made.proxied = lambda transport, first: taken.append((transport, first))
    transport = made._transport
    for piece in pieces:
        made.data_received(piece)
    assert taken == [(transport, GREETING + b"x")]
    assert (made._transport, made._owner, made.seen) == (None, None, b"")


@pytest.mark.parametrize("pieces", [(b"SSH-2.0-x\r\n", b"more"), (b"NETVPS", b" is no greeting", b"more")])
async def test_all_else_is_ssh(pieces: tuple[bytes, ...]) -> None:
    made = connection()
    made.proxied = lambda _transport, _first: pytest.fail("taken")
    for piece in pieces:
        made.data_received(piece)
    assert made.seen == b"".join(pieces)
