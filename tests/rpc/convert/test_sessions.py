from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given

from netvps.api.v1 import session_pb2 as pb
from netvps.domain.event import SessionEvent
from netvps.domain.session import DEFAULT_GRACE, DEFAULT_PIDS, Network, Session, SessionSpec
from netvps.errors import InvalidInput
from netvps.rpc.convert.session_events import event_from_proto, event_to_proto
from netvps.rpc.convert.session_requests import change_from_proto, create_from_proto, read_logs_from_proto
from netvps.rpc.convert.sessions import session_from_proto, session_to_proto, spec_from_proto, spec_to_proto
from tests.rpc.convert import values


@given(values.sessions)
def test_a_session_comes_back_as_it_was(session: Session) -> None:
    wire = session_to_proto(session).SerializeToString()
    assert session_from_proto(pb.Session.FromString(wire)) == session


@given(values.specs)
def test_a_spec_comes_back_as_it_was(spec: SessionSpec) -> None:
    assert spec_from_proto(spec_to_proto(spec)) == spec


@given(values.events)
def test_an_event_comes_back_as_it_was(event: SessionEvent) -> None:
    assert event_from_proto(event_to_proto(event)) == event


def test_an_empty_spec_is_all_defaults() -> None:
    spec = spec_from_proto(pb.SessionSpec())
    assert (spec.pids, spec.stop_grace, spec.network) == (DEFAULT_PIDS, DEFAULT_GRACE, Network.DEFAULT)
    assert spec == SessionSpec()


def test_a_grace_of_zero_is_not_the_default() -> None:
    assert spec_from_proto(pb.SessionSpec(stop_grace=Duration())).stop_grace == 0


def test_all_violations_of_a_request_come_together() -> None:
    spec = pb.SessionSpec(cpus=-1, env={"FOO-BAR": "x"}, network=9, authorized_keys=["nonsense"])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput) as error:
        create_from_proto(
            pb.CreateSessionRequest(session_id="Not A Name", owner="alice", spec=spec, request_id="x" * 65)
        )
    assert [violation.field for violation in error.value.violations] == [
        "session_id",
        "owner",
        "spec.network",
        "spec.cpus",
        "spec.env['FOO-BAR']",
        "spec.authorized_keys[0]",
        "request_id",
    ]


def test_the_owner_may_be_left_out_or_be_me() -> None:
    assert create_from_proto(pb.CreateSessionRequest()).owner == ""
    assert create_from_proto(pb.CreateSessionRequest(owner="users/me")).owner == ""
    assert create_from_proto(pb.CreateSessionRequest(owner="users/bob")).owner == "bob"


def test_a_change_names_its_session() -> None:
    change = change_from_proto(pb.StopSessionRequest(name="sessions/a.b", request_id="r", expected_revision=3))
    assert (change.name, change.request_id, change.expected_revision) == ("a.b", "r", 3)
    with pytest.raises(InvalidInput) as error:
        change_from_proto(pb.DeleteSessionRequest(name="a.b", request_id="\n", expected_revision=-1))
    assert [violation.field for violation in error.value.violations] == ["name", "request_id", "expected_revision"]


@pytest.mark.parametrize(("asked", "read"), [(0, 1000), (1, 1), (100_000, 100_000)])
def test_logs_have_a_default_of_lines(asked: int, read: int) -> None:
    assert read_logs_from_proto(pb.ReadSessionLogsRequest(name="sessions/a", tail_lines=asked)).tail_lines == read


@pytest.mark.parametrize("asked", [-1, 100_001])
def test_logs_have_a_limit_of_lines(asked: int) -> None:
    with pytest.raises(InvalidInput, match="tail_lines"):
        read_logs_from_proto(pb.ReadSessionLogsRequest(name="sessions/a", tail_lines=asked))
