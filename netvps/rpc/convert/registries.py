"""Logins to registries: without passwords for callers, with them for runners that pull."""

from __future__ import annotations

from netvps.api.v1 import link_image_pb2 as link
from netvps.api.v1 import registry_pb2 as pb
from netvps.domain.checks import Checks
from netvps.domain.image.login import Credential, RegistryLogin
from netvps.rpc.convert import names
from netvps.rpc.convert.times import time_from_proto, time_to_proto


def login_to_proto(login: RegistryLogin) -> pb.RegistryLogin:
    """Everything but the password."""
    return pb.RegistryLogin(
        name=names.registry_login_name(login.host),
        username=login.username,
        create_time=time_to_proto(login.create_time),
        update_time=time_to_proto(login.update_time),
        revision=login.revision,
    )


def login_from_proto(message: pb.RegistryLogin) -> RegistryLogin:
    """A login, as a client reads it: without what is sealed."""
    return RegistryLogin(
        names.parse_registry_login_name(message.name),
        message.username,
        "",
        time_from_proto(message, "create_time"),
        time_from_proto(message, "update_time"),
        message.revision,
    )


def update_from_proto(request: pb.UpdateRegistryLoginRequest) -> tuple[Credential, str]:
    """Parses a request into the credential and the request id. Raises InvalidInput, without the password."""
    checks, credential, request_id = Checks(), None, ""
    with checks.nested():
        request_id = names.check_request_id(request.request_id)
    with checks.nested():
        host = names.parse_registry_login_name(request.registry_login.name, "registry_login.name")
        credential = Credential(host, request.registry_login.username, request.password)
    checks.done()
    assert credential is not None  # noqa: S101 — parsed
    return credential, request_id


def credential_to_proto(credential: Credential) -> link.GetRegistryLoginResponse:
    """For a runner."""
    return link.GetRegistryLoginResponse(username=credential.username, password=credential.password)


def credential_from_proto(message: link.GetRegistryLoginResponse, host: str) -> Credential:
    """As a runner reads it. Raises InvalidInput."""
    return Credential(host, message.username, message.password)
