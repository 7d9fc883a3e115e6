"""The exit codes of `netvps`, one table; `ssh` and `exec` pass the remote code on, and LOST_TRANSPORT."""

from __future__ import annotations

from typing import Final

from netvps import errors

OK: Final = 0
UNKNOWN: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
NOT_ALLOWED: Final = 4
CONFLICT: Final = 5
CAPACITY: Final = 6
UNAVAILABLE: Final = 7
TIMEOUT: Final = 8
CANCELLED: Final = 9
CONFIGURATION: Final = 10
INTERRUPTED: Final = 130
LOST_TRANSPORT: Final = 255

MEANINGS: Final = {
    OK: "success; for `ssh`, `exec` and `run`, the command succeeded",
    UNKNOWN: "another error, or a check of `doctor` or `network check` that failed",
    USAGE: "wrong arguments; nothing was sent or changed",
    NOT_FOUND: "no such session, user, key, runner or context, or it is not yours",
    NOT_ALLOWED: "no credential, a wrong one, or one without the right to do this",
    CONFLICT: "the name is taken, or the session is in another state than this needs; "
    "of `run` and `task wait`: a task did not succeed",
    CAPACITY: "no capacity, address, disk space or quota is left",
    UNAVAILABLE: "the server, a runner or Docker cannot be reached now; try again",
    TIMEOUT: "it took longer than `--timeout`; the server goes on",
    CANCELLED: "cancelled by the answer to a question; nothing was changed",
    CONFIGURATION: "a setting, or a file of this machine that it names, is wrong",
    INTERRUPTED: "interrupted by Ctrl-C (128 and the number of SIGINT); what was asked for goes on in the server",
    LOST_TRANSPORT: "of `ssh` and `exec`: the connection was lost; the command may have run",
}
"""For people, in the order of the codes; `ssh`, `exec` and `run` pass on every other code of the command."""

_TABLE: Final[dict[type[errors.NetvpsError], int]] = {
    errors.InvalidInput: USAGE,
    errors.NotFound: NOT_FOUND,
    errors.NotPermitted: NOT_ALLOWED,
    errors.Unauthenticated: NOT_ALLOWED,
    errors.AlreadyExists: CONFLICT,
    errors.WrongState: CONFLICT,
    errors.Changed: CONFLICT,
    errors.TooOld: CONFLICT,
    errors.Exhausted: CAPACITY,
    errors.Unavailable: UNAVAILABLE,
    errors.TimedOut: TIMEOUT,
    errors.DataLoss: UNKNOWN,
    errors.ConfigError: CONFIGURATION,
    errors.InternalError: UNKNOWN,
}


class Cancelled(Exception):
    """The person pressed Ctrl-C; the message says what goes on without them."""


def of(error: errors.NetvpsError) -> int:
    """The exit code of an error: that of the nearest class in the table."""
    return next((_TABLE[cls] for cls in type(error).__mro__ if cls in _TABLE), UNKNOWN)
