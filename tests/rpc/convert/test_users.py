from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given

from netvps.api.v1 import user_pb2 as pb
from netvps.domain.access.accounts import Credential, Role, SshKey, User
from netvps.domain.server import ServerInfo
from netvps.errors import InvalidInput
from netvps.rpc.convert.server_info import server_info_from_proto, server_info_to_proto
from netvps.rpc.convert.ssh_keys import ssh_key_from_proto, ssh_key_to_proto
from netvps.rpc.convert.users import api_key_to_proto, create_from_proto, user_from_proto, user_to_proto
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
