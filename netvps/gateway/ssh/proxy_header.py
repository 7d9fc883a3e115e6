"""The PROXY protocol, version 2: a header by which a load balancer names the client of a TCP connection.

Source: HAProxy's doc/proxy-protocol.txt, section 2.2. Version 1, a line of text, is refused: HAProxy, nginx (as the
side that sends) and the clouds' balancers differ in it.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_SIZE: Final = 2048
"""Bytes of a header with its options; balancers send less than 200."""
_FIXED: Final = struct.Struct("!12sBBH")
_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_TCP: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}
"""Byte of family and transport: source address, destination address, source port, destination port."""


class HeaderError(Exception):
    """What came is no header of version 2 for a TCP connection."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header; `size` bytes of the connection's data belong to it."""

    size: int
    client: tuple[str, int] | None
    """Address and port; None for a connection of the balancer itself, as a health check is."""


@dataclass(frozen=True, slots=True)
class Balancers:
    """The addresses whose connections begin with a header."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> Balancers:
        """From networks in CIDR form, or addresses. Raises ValueError."""
        return cls(tuple(map(ipaddress.ip_network, networks)))

    def __contains__(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:  # a Unix socket has none
            return False
        return any(parsed in network for network in self.networks)


def parse_header(data: bytes) -> ProxyHeader | None:
    """The header that data begins with; None if more data is needed. Raises HeaderError."""
    if data[: len(SIGNATURE)] != SIGNATURE[: len(data)]:
        raise HeaderError("no PROXY header of version 2")
    if len(data) < _FIXED.size:
        return None
    _, command, family, length = _FIXED.unpack_from(data)
    size = _FIXED.size + length
    if command not in {_LOCAL, _PROXY} or size > MAX_SIZE:
        raise HeaderError(f"a PROXY header with command {command:#x} and {length} bytes")
    if len(data) < size:
        return None
    if command == _LOCAL:
        return ProxyHeader(size, None)
    layout = _TCP.get(family)
    if layout is None or length < layout.size:
        raise HeaderError(f"a PROXY header for something else than TCP ({family:#x}, {length} bytes)")
    source, _, port, _ = layout.unpack_from(data, _FIXED.size)
    address = ipaddress.ip_address(source)
    mapped = getattr(address, "ipv4_mapped", None)
    return ProxyHeader(size, (str(mapped or address), port))
