from __future__ import annotations

import errno
import struct

from hypothesis import given
from hypothesis import strategies as st

from netvps.adapters.netlink.wire import (
    ACK_TLVS,
    HEADER,
    Refusal,
    attribute,
    attributes,
    message,
    messages,
    refusal,
)


@given(st.dictionaries(st.integers(1, 100), st.binary(max_size=40), max_size=6))
def test_attributes_come_back(values: dict[int, bytes]) -> None:
    body = b"head" + b"".join(attribute(kind, value) for kind, value in values.items())
    assert attributes(body, 4) == values


@given(st.lists(st.tuples(st.integers(16, 60), st.integers(0, 0xFFF), st.binary(max_size=40)), max_size=6))
def test_messages_come_back(sent: list[tuple[int, int, bytes]]) -> None:
    packet = b""
    for kind, flags, body in sent:
        packed = message(kind, flags, body)
        packet += packed + bytes(-len(packed) % 4)
    assert [(kind, flags, body) for kind, flags, _, _, body in messages(packet)] == [
        (kind, flags | 1, body) for kind, flags, body in sent
    ]


@given(st.binary(max_size=200))
def test_anything_is_read_to_its_end(data: bytes) -> None:
    for _, flags, _, _, body in messages(data):
        attributes(body, 0)
        if len(body) >= 4:
            refusal(flags, body)


def test_the_kernels_own_words_are_part_of_a_refusal() -> None:
    header = HEADER.pack(16, 24, 5, 7, 0)
    assert refusal(0, struct.pack("=i", 0) + header) is None
    plain = refusal(0, struct.pack("=i", -errno.ENODEV) + header)
    assert str(plain) == "No such device"
    found = refusal(
        ACK_TLVS, struct.pack("=i", -errno.EINVAL) + header + attribute(1, b"Nexthop has invalid gateway\0")
    )
    assert found == Refusal(errno.EINVAL, "Nexthop has invalid gateway")
    assert str(found) == "Nexthop has invalid gateway (Invalid argument)"
