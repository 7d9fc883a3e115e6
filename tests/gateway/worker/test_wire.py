"""Messages between a gateway process and the control plane: there and back, and all that is none."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.errors import InternalError, NetvpsError, NotFound, Unavailable
from netvps.gateway.worker import wire
from netvps.gateway.worker.failures import error_of, failure
from netvps.gateway.worker.wire import LIMIT, Decoder, Message, WireError, decode, encode

VALUES: dict[object, st.SearchStrategy[object]] = {
    str: st.text(max_size=50),
    int: st.integers(),
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    tuple[str, ...]: st.lists(st.text(max_size=20), max_size=5).map(tuple),
}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(list(wire.TYPES.values())))
    hints = get_type_hints(kind, vars(wire))
    values: dict[str, Any] = {name: draw(VALUES[hints[name]]) for name in kind.__dataclass_fields__}
    return kind(**values)


@given(st.lists(messages(), max_size=5), st.binary(max_size=3), st.data())
def test_messages_come_out_as_they_went_in_however_they_are_cut(
    sent: list[Message], rest: bytes, data: st.DataObject
) -> None:
    stream = b"".join(map(encode, sent)) + rest
    decoder, got, at = Decoder(), [], 0
    while at < len(stream):
        end = data.draw(st.integers(at + 1, len(stream)))
        decoder.feed(stream[at:end])
        at = end
        while (message := decoder.next()) is not None:
            got.append(message)
    assert got == sent
    assert decoder.rest == rest


json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.binary() | json_values.map(json.dumps).map(str.encode))
def test_anything_else_is_an_error_of_one_kind(text: bytes) -> None:
    try:
        message = decode(text)
    except WireError:
        return
    assert decode(encode(message)[4:]) == message


@given(messages(), st.data())
def test_a_field_that_lacks_is_added_or_of_another_kind_is_an_error(message: Message, data: st.DataObject) -> None:
    content = json.loads(encode(message)[4:])
    field = data.draw(st.sampled_from(sorted(content)))
    match data.draw(st.sampled_from(["lacks", "added", "kind"])):
        case "lacks":
            del content[field]
        case "added":
            content["more"] = 1
        case "kind":
            content[field] = None
    with pytest.raises(WireError):
        decode(json.dumps(content).encode())


def test_a_message_has_a_bounded_length() -> None:
    with pytest.raises(WireError, match="too long"):
        encode(wire.AgentConfigured("x" * LIMIT))
    decoder = Decoder()
    decoder.feed((LIMIT + 1).to_bytes(4))
    with pytest.raises(WireError, match="exceeds the limit"):
        decoder.next()


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(WireError):
        decode(b"[" * 60_000)


@pytest.mark.parametrize("error", [NotFound("no such session", reason="X"), Unavailable("later")])
def test_errors_keep_their_class(error: NetvpsError) -> None:
    found = error_of(failure(7, error))
    assert (type(found), found.message, found.reason) == (type(error), error.message, error.reason)


def test_an_error_of_an_unknown_class_is_a_bug() -> None:
    assert type(error_of(wire.Failed(1, "KeyError", "x", "y"))) is InternalError
