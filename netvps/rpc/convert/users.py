"""Users and their API keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.api.v1 import user_pb2 as pb
from netvps.domain.access import Role, User
from netvps.domain.checks import Checks
from netvps.domain.names import USER_NAME_MAX, check_label
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.times import time_from_proto, time_to_proto

if TYPE_CHECKING:
    from netvps.domain.access import Credential

ROLE = EnumPair(Role, pb.Role, "ROLE_")


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Whom to add."""

    user_id: str
    role: Role
    request_id: str


def user_to_proto(user: User) -> pb.User:
    """All fields."""
    return pb.User(
        name=names.user_name(user.name),
        role=ROLE.to_proto(user.role),
        create_time=time_to_proto(user.create_time),
        revision=user.revision,
    )


def user_from_proto(message: pb.User) -> User:
    """Raises InvalidInput."""
    return User(
        name=names.parse_user_name(message.name),
        role=ROLE.from_proto(message.role, "role"),
        create_time=time_from_proto(message, "create_time"),
        revision=message.revision,
    )


def create_from_proto(message: pb.CreateUserRequest) -> CreateUser:
    """Raises InvalidInput."""
    checks = Checks()
    role = Role.USER
    with checks.nested():
        check_label(message.user_id, "user_id", USER_NAME_MAX)
    with checks.nested():
        role = ROLE.from_proto(message.role, "role", unspecified=Role.USER)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return CreateUser(message.user_id, role, message.request_id)


def api_key_to_proto(credential: Credential) -> pb.ApiKey:
    """The public side of an API key: nothing of its secret, nor of the hash."""
    return pb.ApiKey(
        name=names.api_key_name(credential.subject, credential.kid),
        create_time=time_to_proto(credential.create_time),
        expire_time=time_to_proto(credential.expire_time) if credential.expire_time else None,
    )
