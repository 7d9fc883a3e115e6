"""Batches and waits come over the wire, and each violation names its field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.api.v1 import session_pb2 as pb
from netvps.domain.batch import MAX_BATCH, NewSession, NotCreated
from netvps.domain.session.session import SessionState
from netvps.errors import InvalidInput
from netvps.rpc.convert.session.batches import (
    batch_from_proto,
    batch_to_message,
    batch_to_proto,
    results_from_proto,
    wait_from_proto,
)
from tests.rpc.convert import values

_drafts = st.builds(NewSession, st.sampled_from(["", "dev1"]), values.specs, st.sampled_from(["", "bob"]))


@given(st.lists(_drafts, min_size=1, max_size=2))
def test_a_batch_comes_back_as_it_was(drafts: list[NewSession]) -> None:
    message = batch_to_message(drafts, each=True, request_id="r1")
    assert batch_from_proto(pb.BatchCreateSessionsRequest.FromString(message.SerializeToString())) == drafts


@given(st.lists(values.sessions | st.just(NotCreated("ALREADY_EXISTS", "there is one")), max_size=2))
def test_an_answer_comes_back_as_it_was(results: list[object]) -> None:
    wire = batch_to_proto(results).SerializeToString()  # type: ignore[arg-type]
    assert results_from_proto(pb.BatchCreateSessionsResponse.FromString(wire)) == results


def test_what_is_of_the_batch_is_not_of_its_requests() -> None:
    request = pb.CreateSessionRequest(session_id="A", request_id="r", validate_only=True)
    with pytest.raises(InvalidInput) as caught:
        batch_from_proto(pb.BatchCreateSessionsRequest(requests=[request]))
    assert [one.field for one in caught.value.violations] == [
        "requests[0].request_id",
        "requests[0].validate_only",
        "requests[0].session_id",
    ]
    with pytest.raises(InvalidInput, match=f"{MAX_BATCH + 1} are not between 1 and {MAX_BATCH}"):
        batch_from_proto(pb.BatchCreateSessionsRequest(requests=[pb.CreateSessionRequest()] * (MAX_BATCH + 1)))


def test_a_wait_has_states_and_a_time() -> None:
    message = pb.WaitSessionRequest(name="sessions/dev1", states=[pb.SESSION_STATE_RUNNING])
    parsed = wait_from_proto(message)
    assert (parsed.name, parsed.timeout) == ("dev1", 20.0)
    assert parsed.states == {SessionState.RUNNING}
    message.timeout.seconds = 301
    message.states.append(pb.SESSION_STATE_UNSPECIFIED)
    with pytest.raises(InvalidInput) as caught:
        wait_from_proto(message)
    assert [one.field for one in caught.value.violations] == ["states[1]", "timeout"]
