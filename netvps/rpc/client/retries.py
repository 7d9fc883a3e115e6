"""The calls that a client retries automatically when the connection breaks: only those that are safe to repeat."""

from __future__ import annotations

import json
from typing import Final

_PACKAGE: Final = "netvps.api.v1"

READS: Final = {
    "AuditService": ("ListAuditRecords",),
    "ServerService": ("GetServerInfo",),
    "SessionService": ("GetSession", "ListSessions", "WaitSession", "GetSleepPlan", "WatchSessions", "ReadSessionLogs"),
    "SnapshotService": ("GetSnapshot", "ListSnapshots", "WatchSnapshots", "DiffSession"),
    "MoveService": ("ListMoves",),
    "ImageService": ("GetImage", "ListImages", "GetDefaultImage"),
    "RegistrationService": ("ListInvitations",),
    "RegistryService": ("ListRegistryLogins",),
    "RunnerService": ("GetRunner", "ListRunners"),
    "MetricsService": ("WatchMetrics",),
    "NetworkService": ("GetNetwork", "CheckNetwork", "ProbeLinks"),
    "UserService": ("GetUser", "GetUserQuota", "ListUsers", "ListApiKeys"),
    "SshKeyService": ("ListSshKeys",),
    "ShareService": ("ListShares",),
    "UrlService": ("GetUrl", "ListUrls"),
    "LeaseService": ("GetLease",),
    "TaskService": ("GetTask", "ListTasks", "WaitTasks", "ReadTaskLogs"),
}
"""Read-only methods by service."""
IDEMPOTENT: Final = {
    "SessionService": (
        "CreateSession",
        "BatchCreateSessions",
        "StopSession",
        "StartSession",
        "PauseSession",
        "ResumeSession",
        "RenameSession",
        "ReplaceSession",
        "UpdateSession",
        "DeleteSession",
    ),
    "SnapshotService": ("CreateSnapshot", "UpdateSnapshot", "DeleteSnapshot", "RestoreSnapshot", "CloneSession"),
    "MoveService": ("MoveSession", "DrainRunner", "CordonRunner", "UncordonRunner"),
    "ImageService": ("UpdateDefaultImage",),
    "RegistrationService": ("RegisterUser", "CreateInvitation", "DeleteInvitation"),
    "RegistryService": ("UpdateRegistryLogin", "DeleteRegistryLogin"),
    "RunnerService": ("CreateJoinToken", "DeleteRunner", "LabelRunner"),
    "UserService": ("CreateUser", "UpdateUser", "DeleteUser", "CreateApiKey", "RotateApiKey", "DeleteApiKey"),
    "SshKeyService": ("CreateSshKey", "DeleteSshKey"),
    "ShareService": ("UpdateShare", "DeleteShare"),
    "UrlService": ("UpdateUrl", "DeleteUrl", "CreateUrlLink"),
    "NetworkService": ("ReserveAddress",),
    "LeaseService": ("AcquireLease", "ReleaseLease"),
    "TaskService": ("CreateTasks", "CancelTasks"),
}
"""Methods whose request has a request_id, which the server carries out once per id."""
NEVER: Final = {
    "SessionService": ("ExecSession",),
    "SnapshotService": ("ExportSnapshot", "ImportSnapshot", "BrowseSnapshots"),
    "ImageService": ("DeleteImage", "PullImage", "BuildImage", "BootstrapImage", "PublishImage"),
    "SshKeyService": ("IssueSshCertificate", "IssueSshTicket"),
    "UrlService": ("CreateUrlLogin",),
    "LoginService": ("StartLogin", "FinishLogin"),
    "EnrollmentService": ("JoinRunner", "BootAgent"),
    "CertificateService": ("RenewCertificate",),
    "RunnerLinkService": ("Connect", "CreateBootToken", "GetRegistryLogin", "SendLogs", "CarryFiles"),
    "CopyService": ("ReadCopy", "ReadImage", "SendCopy"),
    "TunnelService": ("Control", "DialBack"),
    "MeshService": (
        "Nudge",
        "FindConnection",
        "PushToRunner",
        "ProbeFromRunner",
        "MeasureRunner",
        "DialSession",
    ),
}
"""Methods that a retry would carry out twice, or whose caller decides about retries itself."""

# Up to five attempts; each pause is random up to a limit that doubles, 1.5 s in total. A request is repeated unchanged,
# with the same request_id. A stream is retried only until its first message, so exec is not retried at all.
_POLICY: Final = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config() -> str:
    """The service config of gRPC as JSON, with the retry policy of each method that is safe to repeat.

    For any method, gRPC also retries a call that no server has started to handle ("transparent retry"), which is safe.
    """
    names = [
        {"service": f"{_PACKAGE}.{service}", "method": method}
        for table in (READS, IDEMPOTENT)
        for service, methods in table.items()
        for method in methods
    ]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": _POLICY}]})
