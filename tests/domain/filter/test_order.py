"""Orders of lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.filter.kinds import SessionFilter
from netvps.domain.filter.order import Order
from netvps.errors import InvalidInput

FIELDS = SessionFilter.fields


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", ()),
        (" ", ()),
        ("name", (("name", False),)),
        (" create_time  desc ,Name asc", (("create_time", True), ("name", False))),
    ],
)
def test_orders_are_parsed(text: str, keys: tuple[tuple[str, bool], ...]) -> None:
    assert Order.parse(text, FIELDS).keys == keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name, size", "order_by: column 7: 'size' is no field, with asc or desc: use name, owner, "),
        ("name down", "order_by: column 1: 'name down' is no field, with asc or desc"),
        ("name,", "order_by: column 6: '' is no field"),
        ("name, name desc", "order_by: column 7: name comes twice"),
        ("name,owner,state,image,runner", "order_by: 5 fields are more than 4"),
    ],
)
def test_an_error_has_its_column(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Order.parse(text, FIELDS)
    assert message in str(caught.value)


@given(st.text() | st.text("nameowr, dsc", max_size=30))
def test_any_text_is_an_order_or_an_error(text: str) -> None:
    try:
        order = Order.parse(text, FIELDS)
    except InvalidInput as error:
        assert error.violations[0].field == "order_by"
        return
    assert {name for name, _ in order.keys} <= FIELDS.texts.keys()
