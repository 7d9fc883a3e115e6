"""Messages of the relay, however they are cut, and nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.errors import InternalError
from netvps.gateway.relay import wire
from netvps.gateway.relay.wire import Cause, Decoder, Kind, Message, encode

messages = st.builds(Message, st.sampled_from(Kind), st.integers(0, 1), st.binary(max_size=40))


@given(st.lists(messages, max_size=6), st.data())
def test_messages_come_out_as_they_went_in_however_they_are_cut(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(encode(*message) for message in sent)
    decoder, got, at = Decoder(), [], 0
    while at < len(stream):
        end = data.draw(st.integers(at + 1, len(stream)))
        decoder.feed(stream[at:end])
        at = end
        while (message := decoder.next()) is not None:
            got.append(message)
    assert got == sent


@given(st.binary(max_size=60))
def test_nonsense_is_an_error_of_one_kind(stream: bytes) -> None:
    decoder = Decoder()
    decoder.feed(stream)
    try:
        while (message := decoder.next()) is not None:
            assert message.side in {0, 1}
    except InternalError as error:
        assert "from the relay" in str(error)


def test_bodies_are_checked() -> None:
    assert wire.counts(bytes(7) + b"\1" + bytes(7) + b"\2") == (1, 2)
    assert wire.cause(b"\3why") is Cause.MAC
    for wrong in (b"", b"\7"):
        with pytest.raises(InternalError):
            wire.cause(wrong)
        with pytest.raises(InternalError):
            wire.counts(wrong)
