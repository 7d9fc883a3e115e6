"""Users and their API keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.api.v1 import user_pb2 as pb
from netvps.domain.access.accounts import ApiKey, Role, Scope, User
from netvps.domain.access.quota import OF_ROLE, Quota
from netvps.domain.access.ssh_key import check_title
from netvps.domain.checks import Checks, shown
from netvps.domain.names import USER_NAME_MAX, check_label
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.access.quotas import quota_from_proto, quota_to_proto, resource_of, values_from_proto
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.times import duration_from_proto, optional_time_from_proto, time_from_proto, time_to_proto

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.access.accounts import Credential

_MIN_TTL, _MAX_TTL = 60.0, 3653 * 86_400.0
_ROLE = "role"
ROLE = EnumPair(Role, pb.Role, "ROLE_")
SCOPE = EnumPair(Scope, pb.ApiKeyScope, "API_KEY_SCOPE_")


@dataclass(frozen=True, slots=True)
class CreateUser:
    """The user to add."""

    user_id: str
    role: Role
    request_id: str


@dataclass(frozen=True, slots=True)
class UpdateUser:
    """The user, and what changes: the role unless it is None, and these limits."""

    name: str
    role: Role | None
    quota: dict[str, int | None]
    request_id: str


@dataclass(frozen=True, slots=True)
class CreateApiKey:
    """The API key to create, for a user; without `ttl` it does not expire."""

    user: str
    request_id: str
    title: str
    ttl: timedelta | None
    scope: Scope


@dataclass(frozen=True, slots=True)
class RotateApiKey:
    """The API key to replace, and how long it goes on working; None for the server's default."""

    user: str
    kid: str
    overlap: timedelta | None
    request_id: str


def user_to_proto(user: User) -> pb.User:
    """Converts all fields."""
    return pb.User(
        name=names.user_name(user.name),
        role=ROLE.to_proto(user.role),
        create_time=time_to_proto(user.create_time),
        revision=user.revision,
        quota=quota_to_proto(user.quota) if user.quota != OF_ROLE else None,
    )


def user_from_proto(message: pb.User) -> User:
    """Parses a user. Raises InvalidInput."""
    return User(
        name=names.parse_user_name(message.name),
        role=ROLE.from_proto(message.role, "role"),
        create_time=time_from_proto(message, "create_time"),
        revision=message.revision,
        quota=quota_from_proto(message.quota),
    )


def create_from_proto(message: pb.CreateUserRequest) -> CreateUser:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    role = Role.USER
    check_new_user_id(checks, message.user_id)
    with checks.nested():
        role = ROLE.from_proto(message.role, "role", unspecified=Role.USER)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return CreateUser(message.user_id, role, message.request_id)


def check_new_user_id(checks: Checks, user_id: str) -> None:
    """Records violations unless a new user may have that name."""
    with checks.nested():
        check_label(user_id, "user_id", USER_NAME_MAX)
    checks.require(user_id != names.ME, "user_id", f"'{names.ME}' stands for the caller: choose another name")


def update_from_proto(message: pb.UpdateUserRequest) -> UpdateUser:
    """Parses the request. Raises InvalidInput."""
    checks, name, role = Checks(), "", None
    paths = set(message.update_mask.paths) or {_ROLE}
    with checks.nested():
        name = names.parse_user_name(message.name)
    if _ROLE in paths:
        with checks.nested():
            role = ROLE.from_proto(message.role, _ROLE)
    limits: dict[str, int | None] = {}
    values = values_from_proto(message.quota)
    for path in sorted(paths - {_ROLE}):
        resource = resource_of(path)
        checks.require(
            resource is not None, "update_mask", f"{shown(path)} is none of role, quota.sessions, quota.cpus, …"
        )
        if resource is not None:
            limits[resource] = values[resource]
    with checks.nested():
        Quota(**limits)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return UpdateUser(name, role, limits, message.request_id)


def create_api_key_from_proto(message: pb.CreateApiKeyRequest) -> CreateApiKey:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    user, ttl, scope = "", None, Scope.FULL
    with checks.nested():
        user = names.parse_user_name(message.parent, "parent")
    with checks.nested():
        names.check_request_id(message.request_id)
    check_title(checks, message.title)
    with checks.nested():
        ttl = _ttl(message)
    with checks.nested():
        scope = SCOPE.from_proto(message.scope, "scope", unspecified=Scope.FULL)
    checks.done()
    return CreateApiKey(user, message.request_id, message.title, ttl, scope)


def rotate_api_key_from_proto(message: pb.RotateApiKeyRequest) -> RotateApiKey:
    """Parses the request. Raises InvalidInput."""
    user, kid = names.parse_api_key_name(message.name)
    overlap = timedelta(seconds=duration_from_proto(message.overlap)) if message.HasField("overlap") else None
    return RotateApiKey(user, kid, overlap, names.check_request_id(message.request_id))


def api_key_to_proto(credential: Credential, last_use: datetime | None = None) -> pb.ApiKey:
    """The public part of an API key: neither its secret nor the hash."""
    return pb.ApiKey(
        name=names.api_key_name(credential.subject, credential.kid),
        create_time=time_to_proto(credential.create_time),
        expire_time=time_to_proto(credential.expire_time) if credential.expire_time else None,
        title=credential.title,
        last_use_time=time_to_proto(last_use) if last_use else None,
        scope=SCOPE.to_proto(credential.scope),
    )


def listed_api_key_to_proto(key: ApiKey) -> pb.ApiKey:
    """Converts all fields that a list shows."""
    return pb.ApiKey(
        name=names.api_key_name(key.user, key.kid),
        create_time=time_to_proto(key.create_time),
        expire_time=time_to_proto(key.expire_time) if key.expire_time else None,
        title=key.title,
        last_use_time=time_to_proto(key.last_use_time) if key.last_use_time else None,
        scope=SCOPE.to_proto(key.scope),
    )


def api_key_from_proto(message: pb.ApiKey) -> ApiKey:
    """Parses an API key. Raises InvalidInput."""
    user, kid = names.parse_api_key_name(message.name)
    return ApiKey(
        kid=kid,
        user=user,
        title=message.title,
        create_time=time_from_proto(message, "create_time"),
        expire_time=optional_time_from_proto(message, "expire_time"),
        last_use_time=optional_time_from_proto(message, "last_use_time"),
        scope=SCOPE.from_proto(message.scope, "scope", unspecified=Scope.FULL),  # of a server without scopes
    )


def _ttl(message: pb.CreateApiKeyRequest) -> timedelta | None:
    if not message.HasField("ttl"):
        return None
    seconds = duration_from_proto(message.ttl)
    if not _MIN_TTL <= seconds <= _MAX_TTL:
        raise InvalidInput.of("ttl", f"{seconds:g} s is not between one minute and ten years")
    return timedelta(seconds=seconds)
