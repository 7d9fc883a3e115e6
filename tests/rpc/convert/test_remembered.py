"""A conversion is done once for each value."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import StringValue

from netvps.rpc.convert.remembered import Remembered


class Text:
    def __init__(self, text: str) -> None:
        self.text = text


def convert(value: Text) -> StringValue:
    return StringValue(value=value.text)


def test_the_same_value_is_converted_once_and_an_equal_one_again() -> None:
    remembered, value = Remembered(convert, 10), Text("a")
    assert remembered(value) is remembered(value)
    again = remembered(Text("a"))
    assert again == remembered(value)
    assert again is not remembered(value)


def test_it_is_bounded_in_number_and_size() -> None:
    remembered = Remembered(convert, 2)
    first, large, *others = Text("a"), Text("x" * 5000), Text("b"), Text("c")
    one = remembered(first)
    assert remembered(large) is not remembered(large)
    assert remembered(first) is one
    kept = [remembered(value) for value in others]
    assert [remembered(value) for value in others] == kept
    assert remembered(first) is not one


def test_values_that_are_gone_are_not_taken_for_new_ones() -> None:
    remembered = Remembered(convert, 4)
    for number in range(1000):
        assert remembered(Text(str(number))).value == str(number)
