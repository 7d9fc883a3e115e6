from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given

from netvps.api.v1 import ssh_key_pb2 as ssh_key_pb
from netvps.api.v1 import user_pb2 as pb
from netvps.domain.access.accounts import Credential, Role, Scope, SshKey, User
from netvps.domain.server import ServerInfo
from netvps.errors import InvalidInput
from netvps.rpc.convert.server_info import server_info_from_proto, server_info_to_proto
from netvps.rpc.convert.ssh_keys import create_from_proto as create_ssh_key
from netvps.rpc.convert.ssh_keys import ssh_key_from_proto, ssh_key_to_proto
from netvps.rpc.convert.users import (
    CreateApiKey,
    api_key_to_proto,
    create_api_key_from_proto,
    create_from_proto,
    user_from_proto,
    user_to_proto,
)
from tests.fakes.keys import ed25519
from tests.rpc.convert import values


@given(values.users)
def test_a_user_comes_back_as_it_was(user: User) -> None:
    assert user_from_proto(user_to_proto(user)) == user


@given(values.ssh_keys)
def test_a_key_comes_back_as_it_was(key: SshKey) -> None:
    assert ssh_key_from_proto(ssh_key_to_proto(key)) == key


@given(values.infos)
def test_what_a_server_says_comes_back_as_it_was(info: ServerInfo) -> None:
    assert server_info_from_proto(server_info_to_proto(info)) == info


def test_nothing_of_the_secret_goes_out_with_a_key() -> None:
    credential = Credential("kid", "api", "alice", "a-hash", datetime(2026, 1, 1, tzinfo=UTC), None)
    message = api_key_to_proto(credential)
    assert message.name == "users/alice/apiKeys/kid"
    assert not message.HasField("expire_time")
    assert b"a-hash" not in message.SerializeToString()


def test_a_new_user_is_no_admin_unless_asked() -> None:
    assert create_from_proto(pb.CreateUserRequest(user_id="carol")).role is Role.USER
    with pytest.raises(InvalidInput) as error:
        create_from_proto(pb.CreateUserRequest(user_id="Carol", role=7))  # type: ignore[arg-type]
    assert [violation.field for violation in error.value.violations] == ["user_id", "role"]
    with pytest.raises(InvalidInput, match="user_id: 'me' stands for the caller"):
        create_from_proto(pb.CreateUserRequest(user_id="me"))


@pytest.mark.parametrize("seconds", [59, 4_000_000_000, 200_000_000_000])
def test_all_that_is_wrong_with_a_new_api_key_is_said_at_once(seconds: int) -> None:
    ttl = Duration(seconds=seconds)
    with pytest.raises(InvalidInput) as error:
        create_api_key_from_proto(pb.CreateApiKeyRequest(parent="me", request_id="\n", title="\x1b", ttl=ttl, scope=9))  # type: ignore[arg-type]
    fields = [violation.field for violation in error.value.violations]
    assert fields == ["parent", "request_id", "title", "ttl", "scope"]


def test_a_new_api_key_lasts_as_long_as_asked() -> None:
    found = create_api_key_from_proto(pb.CreateApiKeyRequest(parent="users/me", ttl=Duration(seconds=60)))
    assert found == CreateApiKey("me", "", "", timedelta(minutes=1), Scope.FULL)
    assert create_api_key_from_proto(pb.CreateApiKeyRequest(parent="users/me")).ttl is None


def test_a_new_ssh_key_is_parsed_and_all_that_is_wrong_is_said_at_once() -> None:
    wanted = create_ssh_key(ssh_key_pb.CreateSshKeyRequest(public_key=f" {ed25519(1)}  ann@laptop\n", request_id="r1"))
    assert (wanted.key.text, wanted.key.comment, wanted.owner, wanted.request_id) == (
        ed25519(1),
        "ann@laptop",
        "",
        "r1",
    )
    wrong = ssh_key_pb.CreateSshKeyRequest(parent="bob", public_key="nonsense", title="\x07", request_id="x" * 65)
    with pytest.raises(InvalidInput) as error:
        create_ssh_key(wrong)
    assert [one.field for one in error.value.violations] == ["parent", "public_key", "title", "request_id"]
