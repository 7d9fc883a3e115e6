"""Calls of UserService, SshKeyService, AuditService. Users are NAME or "me"; converters are imported on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import audit_pb2, ssh_key_pb2, user_pb2
from netvps.errors import InvalidInput
from netvps.rpc.client.calls.call import Pages, Unary, new_request_id, nothing
from netvps.rpc.convert import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.domain.access.accounts import ApiKey, Role, Scope, SshKey, User
    from netvps.domain.access.audit import AuditQuery, AuditRecord
    from netvps.domain.access.quota import QuotaUse


def get_user(name: str = names.ME) -> Unary[User]:
    """One user."""
    from netvps.rpc.convert.users import user_from_proto

    return Unary(
        "UserService/GetUser", user_pb2.GetUserRequest(name=names.user_name(name)), user_pb2.User, user_from_proto
    )


def list_users() -> Pages[User]:
    """Users by name."""
    from netvps.rpc.convert.users import user_from_proto

    return Pages(
        "UserService/ListUsers",
        user_pb2.ListUsersRequest(),
        user_pb2.ListUsersResponse,
        lambda page: map(user_from_proto, page.users),
    )


def create_user(name: str, role: Role) -> Unary[User]:
    """Adds a user: a person or a program."""
    from netvps.rpc.convert.users import ROLE, user_from_proto

    request = user_pb2.CreateUserRequest(user_id=name, role=ROLE.to_proto(role), request_id=new_request_id())
    return Unary("UserService/CreateUser", request, user_pb2.User, user_from_proto)


def get_user_quota(name: str = names.ME) -> Unary[QuotaUse]:
    """The limits of a user, and what their sessions have."""
    from netvps.rpc.convert.access.quotas import use_from_proto

    request = user_pb2.GetUserQuotaRequest(name=names.user_name(name))
    return Unary("UserService/GetUserQuota", request, user_pb2.UserQuota, use_from_proto)


def update_user(name: str, role: Role | None = None, quota: Mapping[str, int | None] | None = None) -> Unary[User]:
    """Changes a user's role, and the limits in `quota`, by resource (domain.access.quota); None is the role's."""
    from netvps.domain.access.quota import Quota
    from netvps.rpc.convert.access.quotas import path_of, quota_to_proto
    from netvps.rpc.convert.users import ROLE, user_from_proto

    request = user_pb2.UpdateUserRequest(
        name=names.user_name(name), quota=quota_to_proto(Quota(**(quota or {}))), request_id=new_request_id()
    )
    request.update_mask.paths.extend(map(path_of, quota or ()))
    if role is not None:
        request.role = ROLE.to_proto(role)
        request.update_mask.paths.append("role")
    return Unary("UserService/UpdateUser", request, user_pb2.User, user_from_proto)


def delete_user(name: str) -> Unary[User]:
    """Removes a user with their keys."""
    from netvps.rpc.convert.users import user_from_proto

    request = user_pb2.DeleteUserRequest(name=names.user_name(name), request_id=new_request_id())
    return Unary("UserService/DeleteUser", request, user_pb2.User, user_from_proto)


def list_api_keys(user: str = names.ME) -> Pages[ApiKey]:
    """A user's API keys by kid, without their secrets."""
    from netvps.rpc.convert.users import api_key_from_proto

    request = user_pb2.ListApiKeysRequest(parent=names.user_name(user))
    return Pages(
        "UserService/ListApiKeys",
        request,
        user_pb2.ListApiKeysResponse,
        lambda page: map(api_key_from_proto, page.api_keys),
    )


def create_api_key(
    user: str = names.ME, *, title: str = "", ttl: float | None = None, scope: Scope | None = None
) -> Unary[str]:
    """Creates an API key, valid for `ttl` seconds or without expiry; the server does not store its secret.

    Without `scope` it may do all that its user may.
    """
    from netvps.rpc.convert.users import SCOPE

    request = user_pb2.CreateApiKeyRequest(parent=names.user_name(user), title=title, request_id=new_request_id())
    if ttl is not None:
        request.ttl.FromSeconds(round(ttl))
    if scope is not None:
        request.scope = SCOPE.to_proto(scope)
    return Unary("UserService/CreateApiKey", request, user_pb2.CreateApiKeyResponse, lambda answer: str(answer.secret))


def rotate_api_key(name: str, overlap: float | None = None) -> Unary[str]:
    """Creates an API key in place of "USER/KID", which works for `overlap` more seconds, by default a day."""
    request = user_pb2.RotateApiKeyRequest(name=_api_key_name(name), request_id=new_request_id())
    if overlap is not None:
        request.overlap.FromSeconds(round(overlap))
    return Unary("UserService/RotateApiKey", request, user_pb2.RotateApiKeyResponse, lambda answer: str(answer.secret))


def _api_key_name(name: str) -> str:
    user, slash, kid = name.partition("/")
    if not slash:
        raise InvalidInput.of("name", f"{name!r} is not USER/KID")
    return names.api_key_name(user, kid)


def delete_api_key(name: str) -> Unary[None]:
    """Revokes the API key "USER/KID"."""
    request = user_pb2.DeleteApiKeyRequest(name=_api_key_name(name), request_id=new_request_id())
    return Unary("UserService/DeleteApiKey", request, user_pb2.ApiKey, nothing)


def list_audit_records(query: AuditQuery) -> Pages[AuditRecord]:
    """Records of the audit log that match, for admins; `limit` is the size of the pages."""
    from netvps.rpc.convert.audit import audit_query_to_proto, audit_record_from_proto

    return Pages(
        "AuditService/ListAuditRecords",
        audit_query_to_proto(query),
        audit_pb2.ListAuditRecordsResponse,
        lambda page: map(audit_record_from_proto, page.records),
    )


def list_ssh_keys(user: str = "") -> Pages[SshKey]:
    """A user's keys by fingerprint; '' is the caller."""
    from netvps.rpc.convert.ssh_keys import ssh_key_from_proto

    request = ssh_key_pb2.ListSshKeysRequest(parent=names.user_name(user or names.ME))
    return Pages(
        "SshKeyService/ListSshKeys",
        request,
        ssh_key_pb2.ListSshKeysResponse,
        lambda page: map(ssh_key_from_proto, page.ssh_keys),
    )


def create_ssh_key(public_key: str, title: str = "", user: str = "") -> Unary[SshKey]:
    """Registers a key; its title defaults to the key's comment."""
    from netvps.rpc.convert.ssh_keys import ssh_key_from_proto

    request = ssh_key_pb2.CreateSshKeyRequest(
        parent=names.user_name(user or names.ME), public_key=public_key, title=title, request_id=new_request_id()
    )
    return Unary("SshKeyService/CreateSshKey", request, ssh_key_pb2.SshKey, ssh_key_from_proto)


def issue_ssh_certificate(public_key: str, ttl: float | None = None) -> Unary[str]:
    """A user certificate (OpenSSH form) that logs in as the caller for `ttl` seconds, by default five minutes."""
    request = ssh_key_pb2.IssueSshCertificateRequest(public_key=public_key)
    if ttl is not None:
        request.ttl.FromSeconds(round(ttl))
    return Unary(
        "SshKeyService/IssueSshCertificate",
        request,
        ssh_key_pb2.IssueSshCertificateResponse,
        lambda answer: str(answer.certificate),
    )


def issue_ssh_ticket(host: str, attachment: bytes) -> Unary[str]:
    """A ticket for one connection to a session's SSH server (netvps/domain/proxy.py), good for half a minute."""
    request = ssh_key_pb2.IssueSshTicketRequest(host=host, attachment=attachment)
    return Unary(
        "SshKeyService/IssueSshTicket",
        request,
        ssh_key_pb2.IssueSshTicketResponse,
        lambda answer: str(answer.ticket),
    )


def delete_ssh_key(uid_or_fingerprint: str, user: str = "") -> Unary[SshKey]:
    """Revokes a key."""
    from netvps.rpc.convert.ssh_keys import ssh_key_from_proto

    request = ssh_key_pb2.DeleteSshKeyRequest(
        name=names.ssh_key_name(user or names.ME, uid_or_fingerprint), request_id=new_request_id()
    )
    return Unary("SshKeyService/DeleteSshKey", request, ssh_key_pb2.SshKey, ssh_key_from_proto)
