"""The two programs of the fast path: domain/overlay/kernel/fast_path.py, decided per packet.

Each runs at the tc ingress of an interface and redirects a frame to another interface, or returns it unchanged to the
slow path. A frame is written to only after all checks passed, so the slow path never sees a half-changed one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from netvps.adapters.bpf.assembly import (
    BYTE,
    DOUBLE,
    HALF,
    R0,
    R1,
    R2,
    R6,
    R7,
    R8,
    R9,
    R10,
    WORD,
    Code,
    Instruction,
    Label,
    add,
    assembled,
    call,
    jump,
    leave,
    load,
    mask,
    move,
    point,
    shift_right,
    store,
)
from netvps.domain.overlay.kernel.fast_path import FastPathConstants
from netvps.domain.overlay.settings import session_mac

DEVICE: Final = bytes(4)
"""Key of the VXLAN device in the map of interfaces: no session has the address 0.0.0.0."""
_SLOW_PATH: Final = "slow path"
_TC_ACT_UNSPEC: Final = -1
_MAP_LOOKUP, _REDIRECT, _REDIRECT_PEER = 1, 23, 155
_LENGTH, _VLAN_PRESENT, _LINK, _DATA, _DATA_END, _SEGMENT = 0, 20, 40, 76, 80, 176
"""Offsets in struct __sk_buff. _SEGMENT is gso_size, without headers; 0 for a single packet."""
_TARGET_MAC, _SOURCE_MAC, _TYPE, _IP = 0, 6, 12, 14
_FRAGMENT, _TTL, _PROTOCOL, _CHECKSUM, _SOURCE, _TARGET = (_IP + at for at in (6, 8, 9, 10, 12, 16))
_TCP: Final = _IP + 20
_TCP_LENGTH, _TCP_FLAGS, _TCP_END = _TCP + 12, _TCP + 13, _TCP + 20
_SYN: Final = 0x02
_PROTOCOL_TCP: Final = 6
_KEY: Final = -4
"""Stack offset of the map key."""


@dataclass(frozen=True)
class Maps:
    """File descriptors of the maps."""

    owners: int
    """Session address to an 8-byte hash of its owner."""
    subnets: int
    """First address of a subnet to the MAC of its runner, and 1 if packets of our MTU reach it."""
    links: int
    """Address of a session on this machine to its interface index."""


def leaving(terms: FastPathConstants, maps: Maps) -> bytes:
    """Assembles the program for a session's interface.

    Redirects frames that carry the session's own addresses to a session of the same owner on another runner.
    """
    return assembled(
        [
            *_ordinary(terms),
            *_unless_mac(_TARGET_MAC, terms.bridge_mac),
            *_unless_mac(_SOURCE_MAC, session_mac("0.0.0.0")[:5]),  # noqa: S104 — the common start of session MACs
            load(WORD, R1, R7, _SOURCE),
            load(WORD, R0, R7, _SOURCE_MAC + 2),
            jump(_SLOW_PATH, R0, "!=", R1),
            store(WORD, R10, _KEY, R1),
            *_found(maps.links),
            load(WORD, R0, R0, 0),
            load(WORD, R1, R6, _LINK),
            jump(_SLOW_PATH, R0, "!=", R1),
            *_found(maps.owners),
            load(DOUBLE, R9, R0, 0),
            load(WORD, R1, R7, _TARGET),
            store(WORD, R10, _KEY, R1),
            *_unless_owned(maps.owners),
            load(WORD, R1, R7, _TARGET),
            *_found_subnet(terms, maps.subnets),
            load(BYTE, R1, R0, 6),
            jump(_SLOW_PATH, R1, "==", 0),
            move(R9, R0),
            store(WORD, R10, _KEY, 0),
            *_found(maps.links),
            load(WORD, R8, R0, 0),
            load(WORD, R0, R9, 0),
            store(WORD, R7, _TARGET_MAC, R0),
            load(HALF, R0, R9, 4),
            store(HALF, R7, _TARGET_MAC + 4, R0),
            *_written(_SOURCE_MAC, terms.device_mac),
            *_sent(_REDIRECT),
        ]
    )


def arriving(terms: FastPathConstants, maps: Maps) -> bytes:
    """Assembles the program for the VXLAN device.

    Redirects frames from the runner that has the sender's subnet to a session of the same owner on this machine.
    """
    return assembled(
        [
            *_ordinary(terms),
            *_unless_mac(_TARGET_MAC, terms.device_mac),
            load(WORD, R1, R7, _SOURCE),
            *_found_subnet(terms, maps.subnets),
            load(WORD, R1, R0, 0),
            load(WORD, R2, R7, _SOURCE_MAC),
            jump(_SLOW_PATH, R1, "!=", R2),
            load(HALF, R1, R0, 4),
            load(HALF, R2, R7, _SOURCE_MAC + 4),
            jump(_SLOW_PATH, R1, "!=", R2),
            load(WORD, R1, R7, _SOURCE),
            store(WORD, R10, _KEY, R1),
            *_found(maps.owners),
            load(DOUBLE, R9, R0, 0),
            load(WORD, R1, R7, _TARGET),
            store(WORD, R10, _KEY, R1),
            *_unless_owned(maps.owners),
            *_found(maps.links),
            load(WORD, R8, R0, 0),
            *_written(_TARGET_MAC, session_mac("0.0.0.0")[:5]),  # noqa: S104
            load(WORD, R0, R7, _TARGET),
            store(WORD, R7, _TARGET_MAC + 2, R0),
            *_written(_SOURCE_MAC, terms.bridge_mac),
            *_sent(_REDIRECT_PEER),
        ]
    )


def _ordinary(terms: FastPathConstants) -> Code:
    """Checks for a plain IPv4 packet of at most the MTU. Sets R6 to the context, R7 to the frame; uses R8 and R9."""
    return [
        move(R6, R1),
        load(WORD, R0, R6, _VLAN_PRESENT),
        jump(_SLOW_PATH, R0, "!=", 0),
        load(WORD, R7, R6, _DATA),
        load(WORD, R8, R6, _DATA_END),
        *_unless_long(_TCP),
        load(HALF, R0, R7, _TYPE),
        jump(_SLOW_PATH, R0, "!=", _as_loaded("0800")),
        load(BYTE, R0, R7, _IP),
        jump(_SLOW_PATH, R0, "!=", 0x45),  # version 4, and no options
        load(HALF, R0, R7, _FRAGMENT),
        jump(_SLOW_PATH, R0, "&", _as_loaded("3fff")),
        load(BYTE, R0, R7, _TTL),
        jump(_SLOW_PATH, R0, "<=", 1),
        load(WORD, R9, R6, _LENGTH),
        add(R9, -_IP),
        load(BYTE, R0, R7, _PROTOCOL),
        jump("single", R0, "!=", _PROTOCOL_TCP),
        *_unless_long(_TCP_END),
        load(BYTE, R0, R7, _TCP_FLAGS),
        jump(_SLOW_PATH, R0, "&", _SYN),
        load(WORD, R1, R6, _SEGMENT),
        jump("single", R1, "==", 0),
        load(BYTE, R9, R7, _TCP_LENGTH),  # data offset: the upper four bits, in 32-bit words
        shift_right(R9, 2),
        mask(R9, 0x3C),
        add(R9, R1),
        add(R9, _TCP - _IP),
        Label("single"),
        jump(_SLOW_PATH, R9, ">", terms.mtu),
    ]


def _unless_long(size: int) -> Iterator[Instruction]:
    """Bounds check: the verifier allows access only to bytes compared with data_end (R8) before."""
    yield move(R0, R7)
    yield add(R0, size)
    yield jump(_SLOW_PATH, R0, ">", R8, wide=True)


def _unless_mac(at: int, mac: str) -> Iterator[Instruction]:
    for size, offset, value in _pieces(mac):
        yield load(size, R0, R7, at + offset)
        yield jump(_SLOW_PATH, R0, "!=", value)


def _written(at: int, mac: str) -> Iterator[Instruction]:
    return (store(size, R7, at + offset, value) for size, offset, value in _pieces(mac))


def _pieces(mac: str) -> list[tuple[int, int, int]]:
    """Splits a MAC, or its start, into size, offset and the value that a load gives."""
    bare = mac.replace(":", "")
    if len(bare) == 4:  # noqa: PLR2004
        return [(HALF, 0, _as_loaded(bare))]
    return [(WORD, 0, _as_loaded(bare[:8])), (HALF, 4, _as_loaded(bare[8:]))]


def _as_loaded(text: str) -> int:
    """Converts bytes in network order to the number that a load in the machine's order gives."""
    data = bytes.fromhex(text)
    return int(struct.unpack("=H" if len(data) == 2 else "=I", data)[0])  # noqa: PLR2004


def _found(descriptor: int) -> Code:
    """Sets R0 to the map's value for the key; the slow path if there is none."""
    return [
        *point(R1, descriptor),
        move(R2, R10),
        add(R2, _KEY),
        call(_MAP_LOOKUP),
        jump(_SLOW_PATH, R0, "==", 0, wide=True),
    ]


def _unless_owned(owners: int) -> Code:
    """Checks that the key's owner is the one in R9."""
    return [*_found(owners), load(DOUBLE, R0, R0, 0), jump(_SLOW_PATH, R0, "!=", R9, wide=True)]


def _found_subnet(terms: FastPathConstants, subnets: int) -> Code:
    """Sets R0 to the subnet of the address in R1."""
    return [mask(R1, _as_loaded(IPv4Address(terms.mask).packed.hex())), store(WORD, R10, _KEY, R1), *_found(subnets)]


def _sent(helper: int) -> Code:
    """Decrements the TTL, updates the checksum (RFC 1624) and redirects to the interface in R8."""
    less = _as_loaded("0100")
    return [
        load(BYTE, R0, R7, _TTL),
        add(R0, -1),
        store(BYTE, R7, _TTL, R0),
        load(HALF, R0, R7, _CHECKSUM),
        add(R0, less),
        jump("summed", R0, "<", 0xFFFF),
        add(R0, 1),
        Label("summed"),
        store(HALF, R7, _CHECKSUM, R0),
        move(R1, R8),
        move(R2, 0),
        call(helper),
        leave(),
        Label(_SLOW_PATH),
        move(R0, _TC_ACT_UNSPEC),
        leave(),
    ]
