from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from netvps.gateway.web import door
from netvps.gateway.web.door import Door


class Transport:
    def __init__(self, address: str) -> None:
        self.address = address
        self.aborted = False
        self.protocol: Any = None

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return self.address, 50000

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def abort(self) -> None:
        self.aborted = True


class Server:
    """As much of aiohttp's as a door needs."""

    def __init__(self) -> None:
        self.connections: list[Any] = []

    def __call__(self) -> Any:
        def connection_made(transport: Transport) -> None:
            self.connections.append(SimpleNamespace(transport=transport))

        return SimpleNamespace(connection_made=connection_made)


def arrive(made: Door, address: str) -> bool:
    """Whether a connection from an address is served."""
    transport = Transport(address)
    protocol = made.protocol()
    assert isinstance(protocol, asyncio.Protocol)
    protocol.connection_made(transport)  # type: ignore[arg-type]  # as much of one as it takes
    assert transport.aborted == (transport.protocol is None)
    return not transport.aborted


def test_connections_of_one_source_are_limited_and_others_get_in() -> None:
    made = Door(Server(), ["203.0.113.1"])  # type: ignore[arg-type]
    assert all(arrive(made, "198.51.100.7") for _ in range(door.CONNECTIONS_PER_SOURCE))
    assert not arrive(made, "198.51.100.7")
    assert all(arrive(made, f"2001:db8::{n}") for n in range(door.CONNECTIONS_PER_SOURCE))
    assert not arrive(made, "2001:db8::ffff"), "a /64 is one source"
    for address in ("203.0.113.1", "127.0.0.1"):
        assert all(arrive(made, address) for _ in range(2 * door.CONNECTIONS_PER_SOURCE))
    assert arrive(made, "198.51.100.8")


def test_all_connections_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "CONNECTIONS", 3)
    made = Door(Server(), [])  # type: ignore[arg-type]
    assert [arrive(made, f"198.51.100.{n}") for n in range(4)] == [True, True, True, False]
