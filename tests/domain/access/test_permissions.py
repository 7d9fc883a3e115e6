"""The table of roles and methods: complete, and each role as documented."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import netvps.api.v1
from netvps.domain.access.accounts import Caller, Role, Scope
from netvps.domain.access.identity import Certified, RunnerIdentity, ServerIdentity, SessionIdentity
from netvps.domain.access.permissions import CREDENTIALS, MACHINES, OPEN, PEOPLE, require_permitted, short_name
from netvps.errors import NotPermitted

RUNNER, SESSION = RunnerIdentity("0" * 13), SessionIdentity("0" * 13, 1)
SERVER = ServerIdentity("0" * 13)


def api_methods() -> list[str]:
    """All methods of the API, from its descriptors."""
    (folder,) = netvps.api.v1.__path__
    modules = [import_module(f"netvps.api.v1.{path.stem}") for path in Path(folder).glob("*_pb2.py")]
    return sorted(
        f"{service.name}/{method.name}"
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    )


def test_every_method_is_in_one_table() -> None:
    assert sorted([*OPEN, *MACHINES, *PEOPLE]) == api_methods()


def test_each_role_may_do_what_the_one_before_may() -> None:
    viewer, user, operator, admin = (
        {method for method, roles in PEOPLE.items() if role in roles}
        for role in (Role.VIEWER, Role.USER, Role.OPERATOR, Role.ADMIN)
    )
    assert viewer < user < operator < admin == set(PEOPLE)


def test_a_viewer_reads_only() -> None:
    reads = ("Get", "List", "Read", "Wait", "Watch")
    assert all(method.partition("/")[2].startswith(reads) for method, roles in PEOPLE.items() if Role.VIEWER in roles)


@pytest.mark.parametrize("method", sorted(CREDENTIALS))
def test_a_key_with_a_scope_gives_no_access_that_outlives_it(method: str) -> None:
    caller = Caller("root", Role.ADMIN, Scope.SESSIONS)
    with pytest.raises(NotPermitted, match=r"by an API key with scope sessions.*use a key with scope full"):
        require_permitted(caller, method)
    require_permitted(Caller("root", Role.ADMIN), method)


def test_a_refusal_names_the_scope() -> None:
    with pytest.raises(NotPermitted, match=r"with role viewer \(by an API key with scope read\) may not call Session"):
        require_permitted(Caller("root", Role.VIEWER, Scope.READ), "SessionService/StopSession")


def test_users_and_the_audit_log_are_for_admins() -> None:
    for_admins = {method for method, roles in PEOPLE.items() if roles == {Role.ADMIN}}
    assert for_admins == {
        "AuditService/ListAuditRecords",
        "UserService/CreateApiKey",
        "UserService/CreateUser",
        "UserService/DeleteUser",
        "UserService/ListUsers",
        "UserService/UpdateUser",
    }


@pytest.mark.parametrize(
    ("who", "method", "why"),
    [
        (
            Caller("alice", Role.USER),
            "RunnerService/CreateJoinToken",
            "user alice with role user may not call RunnerService/CreateJoinToken: it needs role operator or admin",
        ),
        (Caller("root", Role.ADMIN), "NewService/New", "it needs role that does not exist"),
        (Caller("root", Role.ADMIN), "TunnelService/Control", "it is for runners and agents, with a certificate"),
        (RUNNER, "SessionService/ListSessions", "this call is for users, not for runner 0000000000000"),
        (RUNNER, "TunnelService/Control", "this call is for sessions, not for runner"),
        (SESSION, "CopyService/ReadCopy", "this call is for runners, not for session"),
        (RUNNER, "MeshService/Nudge", "this call is for servers, not for runner"),
        (SERVER, "SessionService/ListSessions", "this call is for users, not for server"),
        (SERVER, "CertificateService/RenewCertificate", "this call is for runners, not for server"),
    ],
)
def test_the_rest_is_refused(who: Caller | Certified, method: str, why: str) -> None:
    with pytest.raises(NotPermitted) as refused:
        require_permitted(who, method)
    assert why in refused.value.message


def test_a_method_is_known_by_its_short_name() -> None:
    require_permitted(RUNNER, short_name("/netvps.api.v1.CopyService/ReadCopy"))
    with pytest.raises(NotPermitted):
        require_permitted(RUNNER, short_name("/other.v1.CopyService/ReadCopy"))
