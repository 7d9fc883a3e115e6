"""Calls of RegistryService. A login is named by the host of its registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import registry_pb2 as pb
from netvps.rpc.client.calls.call import Pages, Unary, new_request_id, nothing
from netvps.rpc.convert import names
from netvps.rpc.convert.registries import login_from_proto

if TYPE_CHECKING:
    from netvps.domain.image.login import RegistryLogin


def list_registry_logins() -> Pages[RegistryLogin]:
    """The logins to registries, without passwords."""
    return Pages(
        "RegistryService/ListRegistryLogins",
        pb.ListRegistryLoginsRequest(),
        pb.ListRegistryLoginsResponse,
        lambda page: map(login_from_proto, page.registry_logins),
    )


def update_registry_login(host: str, username: str, password: str) -> Unary[RegistryLogin]:
    """Stores the login to a registry, in place of an earlier one."""
    login = pb.RegistryLogin(name=names.registry_login_name(host), username=username)
    request = pb.UpdateRegistryLoginRequest(registry_login=login, password=password, request_id=new_request_id())
    return Unary("RegistryService/UpdateRegistryLogin", request, pb.RegistryLogin, login_from_proto)


def delete_registry_login(host: str) -> Unary[None]:
    """Removes the login to a registry."""
    request = pb.DeleteRegistryLoginRequest(name=names.registry_login_name(host), request_id=new_request_id())
    return Unary("RegistryService/DeleteRegistryLogin", request, pb.DeleteRegistryLoginResponse, nothing)
