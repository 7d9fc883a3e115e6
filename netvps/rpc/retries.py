"""Which calls a client repeats by itself when the connection breaks: only those that can be repeated safely."""

from __future__ import annotations

import json
from typing import Final

_PACKAGE: Final = "netvps.api.v1"

READS: Final = {
    "ServerService": ("GetServerInfo",),
    "SessionService": ("GetSession", "ListSessions", "WatchSessions", "ReadSessionLogs"),
    "RunnerService": ("GetRunner", "ListRunners"),
    "NetworkService": ("GetNetwork", "CheckNetwork", "ProbeLinks"),
    "UserService": ("GetUser", "ListUsers", "ListApiKeys"),
    "SshKeyService": ("ListSshKeys",),
}
"""Methods by service that change nothing."""
IDEMPOTENT: Final = {
    "SessionService": ("CreateSession", "StopSession", "StartSession", "DeleteSession"),
    "RunnerService": ("CreateJoinToken", "DeleteRunner"),
    "UserService": ("CreateUser", "DeleteUser", "CreateApiKey", "DeleteApiKey"),
    "SshKeyService": ("CreateSshKey", "DeleteSshKey"),
}
"""Methods whose request carries a request_id: the server carries out the same id once."""
NEVER: Final = {
    "SessionService": ("ExecSession",),
    "SshKeyService": ("IssueSshCertificate",),
    "EnrollmentService": ("JoinRunner", "BootAgent"),
    "CertificateService": ("RenewCertificate",),
    "RunnerLinkService": ("Connect", "CreateBootToken", "SendLogs"),
    "TunnelService": ("Control", "DialBack"),
}
"""Methods that a second call would carry out a second time, or whose caller decides by itself when to call again."""

# Up to five attempts; each pause is random up to a limit that doubles, 1.5 s in all. A request is sent again unchanged,
# with the same request_id. A stream is repeated only until its first message came: that is why a command must not be.
_POLICY: Final = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config() -> str:
    """Returns the service config of gRPC, in JSON, with the retry policy of each method that may be repeated.

    gRPC also repeats a call that no server has begun to handle ("transparent retry"), of any method: that is safe.
    """
    names = [
        {"service": f"{_PACKAGE}.{service}", "method": method}
        for table in (READS, IDEMPOTENT)
        for service, methods in table.items()
        for method in methods
    ]
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": _POLICY}]})
