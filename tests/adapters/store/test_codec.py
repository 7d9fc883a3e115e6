"""Every resource comes back from JSON as it was."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.adapters.store.codec import decode, encode, from_micros, to_micros
from netvps.domain.access.accounts import Credential, Request, Role, SshKey, User
from netvps.domain.runner.runner import Capacity, Lease, Runner, RunnerState
from netvps.domain.session.session import DesiredState, LastExit, Session, SessionState, SnapshotImage
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import DataLoss

NOW = datetime(2026, 5, 4, tzinfo=UTC)
# A lone surrogate is no text: neither protobuf nor JSON carries one.
text = st.text(st.characters(codec="utf-8"), max_size=30)
whole = st.integers(0, 2**63 - 1)
labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
times = st.datetimes(datetime(1970, 1, 1), datetime(2300, 1, 1), timezones=st.just(UTC))
env_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
env_values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
printable = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=30)

specs = st.builds(
    SessionSpec,
    image=st.sampled_from(["", "debian", "reg.example:5000/a/b@sha256:00"]),
    cpus=st.one_of(st.just(0.0), st.floats(0.01, 1024)),
    memory_bytes=st.one_of(st.just(0), st.integers(6 << 20, 2**62)),
    pids=st.integers(16, 4_194_304),
    env=st.dictionaries(env_names, env_values, max_size=5),
    authorized_keys=st.just(()),
    run_entrypoint=st.booleans(),
    network=st.sampled_from(Network),
    stop_grace=st.floats(0, 600),
    labels=st.dictionaries(labels, printable, max_size=5),
)
snapshots = st.builds(
    SnapshotImage,
    uid=text,
    session_uid=text,
    image=text,
    digest=text,
    size_bytes=whole,
    layers=whole,
    runner=text,
    generation=whole,
    create_time=times,
)
exits = st.builds(LastExit, exit_code=st.integers(-1, 255), cause=text, end_time=times)
sessions = st.builds(
    Session,
    uid=text,
    name=labels,
    owner=labels,
    spec=specs,
    desired=st.sampled_from(DesiredState),
    generation=whole,
    create_time=times,
    update_time=times,
    state=st.sampled_from(SessionState),
    message=text,
    snapshot=st.none() | snapshots,
    last_exit=st.none() | exits,
    revision=whole,
)
capacities = st.builds(Capacity, cpus=whole, memory_bytes=whole, disk_free_bytes=whole, engine_version=text)
runners = st.builds(
    Runner,
    uid=text,
    name=labels,
    create_time=times,
    last_seen=times,
    state=st.sampled_from(RunnerState),
    version=text,
    capacity=capacities,
    capabilities=st.lists(text, max_size=4).map(tuple),
    revision=whole,
)
leases = st.builds(Lease, cidr=text, runner=text, epoch=whole, revision=whole)
users = st.builds(User, name=labels, role=st.sampled_from(Role), create_time=times, revision=whole)
keys = st.builds(SshKey, uid=text, owner=text, public_key=text, fingerprint=text, title=text, create_time=times)
credentials = st.builds(
    Credential,
    kid=text,
    purpose=text,
    subject=text,
    secret_sha256=text,
    create_time=times,
    expire_time=st.none() | times,
    used_by=text,
    used_for=text,
)
requests = st.builds(
    Request,
    request_key=text,
    digest=text,
    result_kind=text,
    result_key=text,
    result_name=text,
    create_time=times,
)


@given(st.one_of(sessions, runners, leases, users, keys, credentials, requests))
def test_a_resource_comes_back_as_it_was(resource: Any) -> None:
    back = decode(type(resource), encode(resource))
    assert back == resource
    assert _types(back) == _types(resource)


@given(times)
def test_a_time_comes_back_from_microseconds(time: datetime) -> None:
    assert from_micros(to_micros(time)) == time


def test_fields_of_another_version_do_not_stop_it() -> None:
    lease = Lease("10.0.0.0/22", "r1", 3)
    fields = json.loads(encode(lease))
    del fields["revision"]
    assert decode(Lease, json.dumps(fields | {"colour": "red"})) == lease


def test_what_was_read_before_is_the_same_object() -> None:
    lease = Lease("10.0.0.0/22", "r1", 3)
    assert decode(Lease, encode(lease)) is decode(Lease, encode(lease))
    long = Request("alice/1", "0" * 5000, "session", "s1", "dev.alice", NOW)  # not kept: it is large
    assert decode(Request, encode(long)) is not decode(Request, encode(long))


@pytest.mark.parametrize("data", ["", "{}", "[]", '{"cidr": 1}', '{"cidr": "10.0.0.0/22"', "\x00"])
def test_damaged_text_is_data_loss(data: str) -> None:
    with pytest.raises(DataLoss, match="holds a Lease that this program cannot read"):
        decode(Lease, data)


def test_a_stored_value_is_not_in_the_error() -> None:
    with pytest.raises(DataLoss) as caught:
        decode(Credential, '{"kid": "k", "secret_sha256": ["deadbeef"]}')
    assert "deadbeef" not in str(caught.value)


def test_a_value_that_breaks_todays_rules_is_data_loss() -> None:
    user = encode(User("alice", Role.USER, datetime.now(UTC) + timedelta(days=1)))
    with pytest.raises(DataLoss, match="User"):
        decode(User, user.replace("alice", "Alice!"))


def _types(value: Any) -> Any:
    """The shape of a value, since 1 == 1.0 and a StrEnum equals its text."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _types(getattr(value, name)) for name in value.__dataclass_fields__ if name != "kind"}
    if isinstance(value, dict):
        return {name: _types(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_types(item) for item in value)
    return (datetime, value.utcoffset()) if isinstance(value, datetime) else type(value)
