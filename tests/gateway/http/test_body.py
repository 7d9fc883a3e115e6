"""A body ends where its framing says, however its bytes are cut."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.gateway.http.body import Body, BodyError
from netvps.gateway.http.head import Framing

PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def chunked(pieces: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


def taken(framing: Framing, data: bytes, step: int) -> tuple[int, bool]:
    body, count = Body(framing), 0
    for begin in range(0, len(data), step):
        count += body.take(data[begin : begin + step])
    return count, body.done


@given(PIECES, st.binary(max_size=40), st.integers(1, 30), st.booleans())
def test_the_end_of_chunks_is_where_h11_finds_it(pieces: list[bytes], after: bytes, step: int, trailer: bool) -> None:
    data = chunked(pieces, b"X-Sum: 1\r\n" if trailer else b"")
    assert taken(Framing(None, chunked=True), data + after, step) == (len(data), True)
    server = h11.Connection(h11.SERVER)
    server.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data + after)
    while not isinstance(server.next_event(), h11.EndOfMessage):
        pass
    assert server.trailing_data[0] == after


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(1, 30))
def test_a_length_is_counted(data: bytes, after: bytes, step: int) -> None:
    assert taken(Framing(len(data)), data + after, step) == (len(data), True)


def test_without_either_it_ends_with_the_connection() -> None:
    body = Body(Framing(None))
    assert (body.take(b"abc"), body.done, body.ends_with_connection) == (3, False, True)


@pytest.mark.parametrize(
    "data",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"\r\n",
        b"fffffffffffffffff\r\n",
        b"5;\rx\r\nhello\r\n",
        b"5" + b";a" * 4000 + b"\r\n",
        b"0\r\n" + b"A: b\r\n" * 4000 + b"\r\n",
    ],
)
def test_refuses_malformed_chunks(data: bytes) -> None:
    with pytest.raises(BodyError):
        Body(Framing(None, chunked=True)).take(data)
