from __future__ import annotations

from datetime import datetime

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from netvps.api.v1 import session_pb2 as pb
from netvps.errors import InvalidInput
from netvps.rpc.convert.times import (
    duration_from_proto,
    duration_to_proto,
    optional_time_from_proto,
    time_from_proto,
    time_to_proto,
)
from tests.rpc.convert import values


@given(values.times)
def test_times_come_back_as_they_were(time: datetime) -> None:
    message = pb.Session(create_time=time_to_proto(time))
    assert time_from_proto(message, "create_time") == time


@given(st.integers(-(10**12), 10**12))
def test_durations_come_back_as_they_were(milliseconds: int) -> None:
    assert duration_from_proto(duration_to_proto(milliseconds / 1000)) == milliseconds / 1000


def test_a_time_that_is_needed_and_unset_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="create_time"):
        time_from_proto(pb.Session(), "create_time")
    assert optional_time_from_proto(pb.Session(), "create_time") is None


def test_a_time_out_of_range_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="create_time"):
        time_from_proto(pb.Session(create_time=Timestamp(seconds=1 << 60)), "create_time")
