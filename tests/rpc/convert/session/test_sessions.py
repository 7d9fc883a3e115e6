from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from hypothesis import given
from hypothesis import strategies as st

from netvps.api.v1 import session_change_pb2 as change_pb
from netvps.api.v1 import session_exec_pb2 as exec_pb
from netvps.api.v1 import session_pb2 as pb
from netvps.api.v1 import session_spec_pb2 as spec_pb
from netvps.domain.session.event import SessionEvent
from netvps.domain.session.session import Author, ChangeCause, Session
from netvps.domain.session.spec import DEFAULT_GRACE, DEFAULT_PIDS, Network, RestartPolicy, SessionSpec
from netvps.errors import InvalidInput
from netvps.rpc.client.calls.sessions import update_session
from netvps.rpc.convert.session.events import event_from_proto, event_to_proto
from netvps.rpc.convert.session.requests import (
    change_from_proto,
    create_from_proto,
    read_logs_from_proto,
    rename_from_proto,
    update_from_proto,
)
from netvps.rpc.convert.session.sessions import (
    author_from_proto,
    listed_to_proto,
    session_from_proto,
    session_to_proto,
    spec_from_proto,
    spec_to_proto,
)
from netvps.services.page import listed_bytes
from tests.fakes.keys import ed25519
from tests.rpc.convert import values

labels = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=255)


@given(values.sessions)
def test_a_session_comes_back_as_it_was(session: Session) -> None:
    wire = session_to_proto(session).SerializeToString()
    assert session_from_proto(pb.Session.FromString(wire)) == session


@given(values.specs)
def test_a_spec_comes_back_as_it_was(spec: SessionSpec) -> None:
    assert spec_from_proto(spec_to_proto(spec)) == spec


@given(values.sessions)
def test_a_list_leaves_out_environment_command_and_keys_and_nothing_else(session: Session) -> None:
    spec = replace(session.spec, env={}, command=(), authorized_keys=())
    assert session_from_proto(listed_to_proto(session)) == replace(session, spec=spec)


@given(
    values.sessions,
    st.text(max_size=2000),
    st.dictionaries(st.from_regex(r"[a-z]{1,60}", fullmatch=True), labels, max_size=32),
)
def test_a_listed_session_is_no_larger_than_it_was_taken_for(
    session: Session, message: str, more: dict[str, str]
) -> None:
    session = replace(session, message=message, spec=replace(session.spec, labels=more))
    assert listed_to_proto(session).ByteSize() + 4 <= listed_bytes(session)


@given(values.events)
def test_an_event_comes_back_as_a_list_would_have_it(event: SessionEvent) -> None:
    listed = event.session and session_from_proto(listed_to_proto(event.session))
    assert event_from_proto(event_to_proto(event)) == replace(event, session=listed)


def test_a_new_session_has_no_more_environment_and_keys_than_a_message_takes() -> None:
    env = {f"A{number}": "x" * 30_000 for number in range(9)}
    keys = [f"{ed25519(number)} {'x' * 9000}" for number in range(20)]
    with pytest.raises(InvalidInput) as error:
        create_from_proto(pb.CreateSessionRequest(spec=spec_pb.SessionSpec(env=env, authorized_keys=keys)))
    assert [(one.field, one.description[:36]) for one in error.value.violations] == [
        ("spec.env", "270018 bytes in all are more than 26"),
        ("spec.authorized_keys", "181620 bytes in all are more than 13"),
    ]
    assert spec_from_proto(spec_pb.SessionSpec(env=env)).env == env  # one of before this limit can still be read


def test_an_empty_spec_is_all_defaults() -> None:
    spec = spec_from_proto(spec_pb.SessionSpec())
    assert (spec.pids, spec.stop_grace, spec.network) == (DEFAULT_PIDS, DEFAULT_GRACE, Network.DEFAULT)
    assert spec == SessionSpec()


def test_a_grace_of_zero_is_not_the_default() -> None:
    assert spec_from_proto(spec_pb.SessionSpec(stop_grace=Duration())).stop_grace == 0


def test_all_violations_of_a_request_come_together() -> None:
    spec = spec_pb.SessionSpec(cpus=-1, env={"FOO-BAR": "x"}, network=9, authorized_keys=["nonsense"])  # type: ignore[arg-type]
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


def test_a_rename_has_a_new_name() -> None:
    change = rename_from_proto(change_pb.RenameSessionRequest(name="sessions/a.b", session_id="web", request_id="r"))
    assert (change.name, change.session_id, change.request_id) == ("a.b", "web", "r")
    with pytest.raises(InvalidInput) as error:
        rename_from_proto(change_pb.RenameSessionRequest(name="a.b", session_id="Web!", expected_revision=-1))
    assert [violation.field for violation in error.value.violations] == ["name", "expected_revision", "session_id"]


def test_an_update_names_its_fields() -> None:
    spec = spec_pb.SessionSpec(cpus=2.0, restart_policy=change_pb.RESTART_POLICY_NEVER)
    session = pb.Session(name="sessions/a.b", spec=spec)
    mask = FieldMask(paths=["spec.cpus", "spec.restart_policy"])
    change = update_from_proto(pb.UpdateSessionRequest(session=session, update_mask=mask, expected_revision=3))
    assert (change.name, change.expected_revision) == ("a.b", 3)
    assert change.fields == {"cpus", "restart_policy"}
    assert (change.spec.cpus, change.spec.restart_policy) == (2.0, RestartPolicy.NEVER)


def test_a_client_names_fields_by_their_place_in_the_message() -> None:
    call = update_session(
        "a.b", SessionSpec(snapshot_keep=3, snapshot_max_age=60.0), ["snapshot_keep", "snapshot_max_age"]
    )
    request = call.request
    assert isinstance(request, pb.UpdateSessionRequest)
    assert list(request.update_mask.paths) == ["spec.snapshot_retention.keep", "spec.snapshot_retention.max_age"]
    change = update_from_proto(request)
    assert change.fields == {"snapshot_keep", "snapshot_max_age"}
    assert (change.spec.snapshot_keep, change.spec.snapshot_max_age) == (3, 60.0)


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ([], "update_mask: no field is named"),
        (["spec.image"], r"'spec\.image' cannot be changed; what can: spec\.cpus, "),
        (["cpus"], "'cpus' cannot be changed"),
        (["spec.cpus"], r"session\.spec\.cpus: 2000\.0 is not between"),
    ],
)
def test_an_update_of_what_cannot_change_is_refused(paths: list[str], words: str) -> None:
    session = pb.Session(name="sessions/a.b", spec=spec_pb.SessionSpec(cpus=2000 if "spec.cpus" in paths else 0))
    with pytest.raises(InvalidInput, match=words):
        update_from_proto(pb.UpdateSessionRequest(session=session, update_mask=FieldMask(paths=paths)))


def test_a_cause_of_a_newer_server_is_not_known() -> None:
    assert author_from_proto(change_pb.Author(actor="ann", cause=99)) == Author("ann", ChangeCause.UNSPECIFIED)  # type: ignore[arg-type]


@pytest.mark.parametrize(("asked", "read"), [(0, 1000), (1, 1), (100_000, 100_000)])
def test_logs_have_a_default_of_lines(asked: int, read: int) -> None:
    assert read_logs_from_proto(exec_pb.ReadSessionLogsRequest(name="sessions/a", tail_lines=asked)).tail_lines == read


@pytest.mark.parametrize("asked", [-1, 100_001])
def test_logs_have_a_limit_of_lines(asked: int) -> None:
    with pytest.raises(InvalidInput, match="tail_lines"):
        read_logs_from_proto(exec_pb.ReadSessionLogsRequest(name="sessions/a", tail_lines=asked))
