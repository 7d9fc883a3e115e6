"""Encodes set elements: NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM (linux/netfilter/nf_tables.h). See batch.py for why.

An element is the text that `nft` reads ("10.0.0.1 : jump ann"), encoded by the types of its set. Kinds that are not in
`_FIELDS` raise ValueError, and the change is left to `nft`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Network
from itertools import islice
from typing import Final

from netvps.adapters.filter.rules.nft import Elements, Set
from netvps.adapters.netlink.wire import CREATE, NESTED, attribute, message

NFTABLES: Final = 10
"""Subsystem id, the upper byte of a message's type."""
_NEW, _DELETE = NFTABLES << 8 | 12, NFTABLES << 8 | 14
_FAMILIES: Final = {"inet": 1, "bridge": 7}
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_ELEMENT = 1
_KEY, _DATA, _KEY_END = 1, 2, 10
_VALUE, _VERDICT = 1, 2
_CODE, _CHAIN = 1, 2
_CODES: Final = {"jump": -3, "goto": -4}
_AT_ONCE: Final = 256
"""Elements per message: nested attributes hold at most 64 KiB."""
_NAME_BYTES: Final = 16


def requests(change: Elements) -> Iterator[bytes]:
    """Yields messages in order, deletions first. Raises ValueError for kinds of elements that are not supported."""
    for kind, flags, elements in ((_DELETE, 0, change.gone), (_NEW, CREATE, change.come)):
        left = iter(sorted(elements))
        while some := list(islice(left, _AT_ONCE)):
            yield message(kind, flags, _head(change) + _nested(_ELEMENTS, (_element(change.of, each) for each in some)))


def _head(change: Elements) -> bytes:
    family, _, table = change.table.partition(" ")
    if family not in _FAMILIES:
        raise ValueError(f"family {family}")
    names = attribute(_TABLE, _text(table)) + attribute(_SET, _text(change.name))
    return struct.pack("=BBH", _FAMILIES[family], 0, 0) + names


def _element(of: Set, text: str) -> bytes:
    key, _, verdict = text.partition(" : ")
    types, _, data = of.type.partition(" : ")
    try:
        fields = [_FIELDS[kind](part) for kind, part in zip(types.split(" . "), key.split(" . "), strict=True)]
        values = [_verdict(verdict)] if verdict else []
    except (KeyError, ValueError, OSError, struct.error):
        raise ValueError(f"{text} of {of.declaration}") from None
    firsts, lasts = zip(*fields, strict=True)
    if bool(values) != (data == "verdict") or (len(fields) == 1 if of.interval else firsts != lasts):
        raise ValueError(f"{text} of {of.declaration}")
    found = [_nested(_KEY, [attribute(_VALUE, _joined(firsts))])]
    if values:
        found.append(_nested(_DATA, values))
    if of.interval:
        found.append(_nested(_KEY_END, [attribute(_VALUE, _joined(lasts))]))
    return _nested(_ELEMENT, found)


def _verdict(text: str) -> bytes:
    word, _, chain = text.partition(" ")
    return _nested(_VERDICT, [attribute(_CODE, struct.pack(">i", _CODES[word])), attribute(_CHAIN, _text(chain))])


def _joined(fields: Sequence[bytes]) -> bytes:
    """Concatenates key fields, each padded to 4 bytes."""
    return fields[0] if len(fields) == 1 else b"".join(field + bytes(-len(field) % 4) for field in fields)


def _ipv4(text: str) -> tuple[bytes, bytes]:
    if "/" in text:
        network = IPv4Network(text)
        return network.network_address.packed, network.broadcast_address.packed
    return (one := socket.inet_pton(socket.AF_INET, text)), one


def _ipv6(text: str) -> tuple[bytes, bytes]:
    return (one := socket.inet_pton(socket.AF_INET6, text)), one


def _mac(text: str) -> tuple[bytes, bytes]:
    return (one := bytes.fromhex(text.replace(":", ""))), one


def _mark(text: str) -> tuple[bytes, bytes]:
    return (one := struct.pack("=I", int(text))), one


def _link(text: str) -> tuple[bytes, bytes]:
    name = text.strip('"').encode()
    if len(name) >= _NAME_BYTES:
        raise ValueError(f"{text} is no interface name")
    return (one := name.ljust(_NAME_BYTES, b"\0")), one


_FIELDS: Final[dict[str, Callable[[str], tuple[bytes, bytes]]]] = {
    "ipv4_addr": _ipv4,
    "ipv6_addr": _ipv6,
    "ether_addr": _mac,
    "mark": _mark,
    "ifname": _link,
}
"""Encodes a key field to its first and last value, by the field's type; both are equal unless it is a prefix."""


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _nested(kind: int, attributes: Iterable[bytes]) -> bytes:
    return attribute(kind | NESTED, b"".join(attributes))
