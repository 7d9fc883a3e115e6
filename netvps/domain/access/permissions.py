"""Who may call which method of the API: a table of roles and methods. Pure.

A method that the table lacks is refused. What a caller may do with one session or one user is decided where it is read
(services.sessions.scope), by the rights in domain.access.sharing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Caller, Role, Scope
from netvps.domain.access.identity import RunnerIdentity, ServerIdentity, SessionIdentity
from netvps.errors import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.domain.access.identity import Certified

_PACKAGE: Final = "/netvps.api.v1."
_VIEWER = frozenset(Role)
_USER = _VIEWER - {Role.VIEWER}
_OPERATOR = _USER - {Role.USER}
_ADMIN = frozenset({Role.ADMIN})

OPEN: Final = frozenset(
    {
        "EnrollmentService/BootAgent",
        "EnrollmentService/JoinRunner",
        "LoginService/FinishLogin",
        "LoginService/StartLogin",
        "RegistrationService/RegisterUser",
        "ServerService/GetServerInfo",
    }
)
"""Methods without a credential: they return public information, or the request contains a token."""

MACHINES: Final[Mapping[str, tuple[type[Certified], ...]]] = {
    "CertificateService/RenewCertificate": (RunnerIdentity, SessionIdentity),
    "CopyService/ReadCopy": (RunnerIdentity,),
    "CopyService/ReadImage": (RunnerIdentity,),
    "CopyService/SendCopy": (RunnerIdentity,),
    "MeshService/DialSession": (ServerIdentity,),
    "MeshService/FindConnection": (ServerIdentity,),
    "MeshService/MeasureRunner": (ServerIdentity,),
    "MeshService/Nudge": (ServerIdentity,),
    "MeshService/ProbeFromRunner": (ServerIdentity,),
    "MeshService/PushToRunner": (ServerIdentity,),
    "RunnerLinkService/CarryFiles": (RunnerIdentity,),
    "RunnerLinkService/Connect": (RunnerIdentity,),
    "RunnerLinkService/CreateBootToken": (RunnerIdentity,),
    "RunnerLinkService/GetRegistryLogin": (RunnerIdentity,),
    "RunnerLinkService/SendLogs": (RunnerIdentity,),
    "TunnelService/Control": (SessionIdentity,),
    "TunnelService/DialBack": (SessionIdentity,),
}
"""Methods for certificates, and of whom."""
_PLURAL: Final = {RunnerIdentity: "runners", SessionIdentity: "sessions", ServerIdentity: "servers"}

PEOPLE: Final[Mapping[str, frozenset[Role]]] = {
    "AuditService/ListAuditRecords": _ADMIN,
    "ImageService/BootstrapImage": _OPERATOR,
    "ImageService/BuildImage": _OPERATOR,
    "ImageService/DeleteImage": _OPERATOR,
    "ImageService/GetDefaultImage": _VIEWER,
    "ImageService/GetImage": _VIEWER,
    "ImageService/ListImages": _VIEWER,
    "ImageService/PublishImage": _OPERATOR,
    "ImageService/PullImage": _OPERATOR,
    "ImageService/UpdateDefaultImage": _OPERATOR,
    "LeaseService/AcquireLease": _USER,
    "LeaseService/GetLease": _VIEWER,
    "LeaseService/ReleaseLease": _USER,
    "MetricsService/WatchMetrics": _VIEWER,
    "MoveService/CordonRunner": _OPERATOR,
    "MoveService/DrainRunner": _OPERATOR,
    "MoveService/ListMoves": _VIEWER,
    "MoveService/MoveSession": _USER,
    "MoveService/UncordonRunner": _OPERATOR,
    "NetworkService/CheckNetwork": _USER,
    "NetworkService/GetNetwork": _VIEWER,
    "NetworkService/ProbeLinks": _USER,
    "NetworkService/ReserveAddress": _USER,
    "RegistrationService/CreateInvitation": _OPERATOR,
    "RegistrationService/DeleteInvitation": _OPERATOR,
    "RegistrationService/ListInvitations": _OPERATOR,
    "RegistryService/DeleteRegistryLogin": _OPERATOR,
    "RegistryService/ListRegistryLogins": _OPERATOR,
    "RegistryService/UpdateRegistryLogin": _OPERATOR,
    "RunnerService/CreateJoinToken": _OPERATOR,
    "RunnerService/DeleteRunner": _OPERATOR,
    "RunnerService/GetRunner": _VIEWER,
    "RunnerService/LabelRunner": _OPERATOR,
    "RunnerService/ListRunners": _VIEWER,
    "SessionService/BatchCreateSessions": _USER,
    "SessionService/CreateSession": _USER,
    "SessionService/DeleteSession": _USER,
    "SessionService/ExecSession": _USER,
    "SessionService/GetSession": _VIEWER,
    "SessionService/GetSleepPlan": _VIEWER,
    "SessionService/ListSessions": _VIEWER,
    "SessionService/PauseSession": _USER,
    "SessionService/ReadSessionLogs": _VIEWER,
    "SessionService/RenameSession": _USER,
    "SessionService/ReplaceSession": _USER,
    "SessionService/ResumeSession": _USER,
    "SessionService/StartSession": _USER,
    "SessionService/StopSession": _USER,
    "SessionService/UpdateSession": _USER,
    "SessionService/WatchSessions": _VIEWER,
    "SessionService/WaitSession": _VIEWER,
    "ShareService/DeleteShare": _USER,
    "ShareService/ListShares": _VIEWER,
    "ShareService/UpdateShare": _USER,
    "SnapshotService/BrowseSnapshots": _USER,
    "SnapshotService/CloneSession": _USER,
    "SnapshotService/CreateSnapshot": _USER,
    "SnapshotService/DeleteSnapshot": _USER,
    "SnapshotService/DiffSession": _USER,
    "SnapshotService/ExportSnapshot": _USER,
    "SnapshotService/GetSnapshot": _VIEWER,
    "SnapshotService/ImportSnapshot": _USER,
    "SnapshotService/ListSnapshots": _VIEWER,
    "SnapshotService/RestoreSnapshot": _USER,
    "SnapshotService/UpdateSnapshot": _USER,
    "SnapshotService/WatchSnapshots": _VIEWER,
    "SshKeyService/CreateSshKey": _USER,
    "SshKeyService/DeleteSshKey": _USER,
    "SshKeyService/IssueSshCertificate": _USER,
    "SshKeyService/IssueSshTicket": _USER,
    "SshKeyService/ListSshKeys": _VIEWER,
    "TaskService/CancelTasks": _USER,
    "TaskService/CreateTasks": _USER,
    "TaskService/GetTask": _VIEWER,
    "TaskService/ListTasks": _VIEWER,
    "TaskService/ReadTaskLogs": _VIEWER,
    "TaskService/WaitTasks": _VIEWER,
    "UrlService/CreateUrlLink": _USER,
    "UrlService/CreateUrlLogin": _USER,
    "UrlService/DeleteUrl": _USER,
    "UrlService/GetUrl": _VIEWER,
    "UrlService/ListUrls": _VIEWER,
    "UrlService/UpdateUrl": _USER,
    "UserService/CreateApiKey": _ADMIN,
    "UserService/CreateUser": _ADMIN,
    "UserService/DeleteApiKey": _USER,
    "UserService/DeleteUser": _ADMIN,
    "UserService/GetUser": _VIEWER,
    "UserService/GetUserQuota": _VIEWER,
    "UserService/ListApiKeys": _VIEWER,
    "UserService/ListUsers": _ADMIN,
    "UserService/RotateApiKey": _USER,
    "UserService/UpdateUser": _ADMIN,
}
"""Methods for people, and the roles that may call them."""

CREDENTIALS: Final = frozenset(
    {
        "RegistrationService/CreateInvitation",
        "SshKeyService/CreateSshKey",
        "SshKeyService/DeleteSshKey",
        "SshKeyService/IssueSshCertificate",
        "UrlService/CreateUrlLink",
        "UrlService/CreateUrlLogin",
        "UserService/CreateApiKey",
        "UserService/DeleteApiKey",
        "UserService/RotateApiKey",
    }
)
"""Methods that need an API key with scope FULL: they give or take access that outlives the key, or has no scope."""


def short_name(method: str) -> str:
    """A method as in the tables: "SessionService/StopSession" for "/netvps.api.v1.SessionService/StopSession"."""
    return method.removeprefix(_PACKAGE)


def require_permitted(who: Caller | Certified, method: str) -> None:
    """Raises NotPermitted unless the caller may call a method, which is given by its short name."""
    if not isinstance(who, Caller):
        if not isinstance(who, MACHINES.get(method, ())):
            kinds = MACHINES.get(method)
            meant = "users" if kinds is None else _PLURAL[kinds[0]]
            raise NotPermitted(f"this call is for {meant}, not for {who}: use a credential of theirs")
        return
    if method in MACHINES:
        raise NotPermitted(f"user {who.user} may not call {method}: it is for runners and agents, with a certificate")
    if method in CREDENTIALS and who.scope is not Scope.FULL:
        raise NotPermitted(f"user {who.user}{_with_scope(who)} may not call {method}: use a key with scope full")
    permitted = PEOPLE.get(method, frozenset())
    if who.role not in permitted:
        roles = " or ".join(role.lower() for role in Role if role in permitted) or "that does not exist"
        raise NotPermitted(
            f"user {who.user} with role {who.role.lower()}{_with_scope(who)} may not call {method}: "
            f"it needs role {roles}; ask one of your admins"
        )


def _with_scope(who: Caller) -> str:
    return "" if who.scope is Scope.FULL else f" (by an API key with scope {who.scope.lower()})"
